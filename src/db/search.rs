//! What has a text in its name, whatever it is: each list with a bound, the nearest first.

use sea_orm::sea_query::{Expr, ExprTrait, Func, IntoColumnRef, LikeExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::cloudflare::{RouteStatusRow, refused};
use super::containers::ContainerRow;
use super::database::{Db, limit};
use super::entities::{agent, container, manual_rule, route, route_status, tunnel};
use super::error::DbError;
use super::manual_rules::{self, ManualRuleRow};
use super::routes::RouteRow;
use super::tunnels::TunnelRow;
use super::words::word;
use crate::domain::agent::AgentStatus;
use crate::domain::id::AgentId;

/// A text as a pattern holds it, with `\` before what would mean more.
pub(super) fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c])).collect()
}

/// True for rows whose column has the text in it, in any case.
pub(super) fn has_text(column: impl IntoColumnRef, text: &str) -> Expr {
    let pattern = LikeExpr::new(format!("%{}%", escaped(&text.to_lowercase()))).escape('\\');
    lower(column).like(pattern)
}

fn lower(column: impl IntoColumnRef) -> Expr {
    Expr::expr(Func::lower(Expr::col(column)))
}

/// True for rows whose column has one of the texts in it.
fn has_any<C: IntoColumnRef + Clone>(column: C, texts: &[String]) -> Condition {
    texts.iter().fold(Condition::any(), |any, text| any.add(has_text(column.clone(), text)))
}

/// Smaller for what is called just so, then for what begins so.
fn nearness<C: IntoColumnRef + Clone>(column: C, texts: &[String]) -> Expr {
    let none = || Expr::val(1).eq(0);
    let any = |each: &dyn Fn(&str) -> Expr| {
        texts.iter().fold(none(), |any, text| any.or(each(&text.to_lowercase())))
    };
    let is_it = any(&|text| lower(column.clone()).eq(text));
    let begins =
        any(&|text| lower(column.clone()).like(LikeExpr::new(format!("{}%", escaped(text))).escape('\\')));
    Expr::case(is_it, Expr::val(0)).case(begins, Expr::val(1)).finally(Expr::val(2)).into()
}

/// An agent that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAgent {
    /// Its id.
    pub id: AgentId,
    /// What people call it.
    pub name: String,
    /// Name of its tunnel.
    pub tunnel_name: Option<String>,
    /// Where it stands.
    pub status: AgentStatus,
}

/// Returns agents that are called so, or whose id has it; removed ones are left out.
pub async fn search_agents(db: &Db, texts: &[String], max: u64) -> Result<Vec<FoundAgent>, DbError> {
    use agent::{Column, Entity};
    let texts = texts.to_vec();
    db.read(move |conn| async move {
        let is_it = has_any((Entity, Column::DisplayName), &texts).add(has_any((Entity, Column::Id), &texts));
        let query = Entity::find()
            .filter(is_it)
            .filter(Column::Status.ne(AgentStatus::Removed.as_str()))
            .order_by(nearness((Entity, Column::DisplayName), &texts), Order::Asc)
            .order_by_asc(Column::DisplayName)
            .order_by_asc(Column::Id)
            .limit(limit(max));
        let found = |row: agent::Model| {
            Ok(FoundAgent {
                status: word("agent", &row.id, &row.status)?,
                id: AgentId::new(row.id),
                name: row.display_name,
                tunnel_name: row.tunnel_name,
            })
        };
        query.all(&conn).await?.into_iter().map(found).collect()
    })
    .await
}

/// Returns containers that are called so, or whose id has it.
pub async fn search_containers(db: &Db, texts: &[String], max: u64) -> Result<Vec<ContainerRow>, DbError> {
    use container::{Column, Entity};
    let texts = texts.to_vec();
    db.read(move |conn| async move {
        let is_it = has_any((Entity, Column::Name), &texts).add(has_any((Entity, Column::Id), &texts));
        let query = Entity::find()
            .filter(is_it)
            .order_by(nearness((Entity, Column::Name), &texts), Order::Asc)
            .order_by_asc(Column::Name)
            .order_by_asc(Column::AgentId)
            .order_by_asc(Column::Id)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(ContainerRow::of).collect()
    })
    .await
}

/// Returns claimed routes whose hostname or path has it, or whose container is called so.
pub async fn search_routes(db: &Db, texts: &[String], max: u64) -> Result<Vec<RouteRow>, DbError> {
    use route::{Column, Entity};
    let texts = texts.to_vec();
    db.read(move |conn| async move {
        let columns = [Column::Hostname, Column::Path, Column::ContainerName];
        let is_it =
            columns.iter().fold(Condition::any(), |any, column| any.add(has_any((Entity, *column), &texts)));
        let query = Entity::find()
            .filter(is_it)
            .order_by(nearness((Entity, Column::Hostname), &texts), Order::Asc)
            .order_by_asc(Column::Hostname)
            .order_by_asc(Column::Path)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(RouteRow::of).collect()
    })
    .await
}

/// Returns rules of people whose hostname or path has it.
pub async fn search_rules(db: &Db, texts: &[String], max: u64) -> Result<Vec<ManualRuleRow>, DbError> {
    use manual_rule::{Column, Entity};
    let texts = texts.to_vec();
    db.read(move |conn| async move {
        let is_it = has_any((Entity, Column::Hostname), &texts).add(has_any((Entity, Column::Path), &texts));
        let query = Entity::find()
            .filter(is_it)
            .order_by(nearness((Entity, Column::Hostname), &texts), Order::Asc)
            .order_by_asc(Column::Hostname)
            .order_by_asc(Column::Path)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(manual_rules::row).collect()
    })
    .await
}

/// Returns what labels ask for under such a hostname and did not get.
pub async fn search_refused(db: &Db, texts: &[String], max: u64) -> Result<Vec<RouteStatusRow>, DbError> {
    use route_status::{Column, Entity};
    let texts = texts.to_vec();
    db.read(move |conn| async move {
        let query = Entity::find()
            .filter(has_any((Entity, Column::Hostname), &texts))
            .filter(refused())
            .order_by(nearness((Entity, Column::Hostname), &texts), Order::Asc)
            .order_by_asc(Column::Hostname)
            .order_by_asc(Column::Path)
            .order_by_asc(Column::AgentId)
            .limit(limit(max));
        Ok(query.all(&conn).await?.into_iter().map(RouteStatusRow::of).collect())
    })
    .await
}

/// Returns tunnels that are called so, or whose id has it.
pub async fn search_tunnels(db: &Db, texts: &[String], max: u64) -> Result<Vec<TunnelRow>, DbError> {
    use tunnel::{Column, Entity};
    let texts = texts.to_vec();
    db.read(move |conn| async move {
        let is_it = has_any((Entity, Column::Name), &texts).add(has_any((Entity, Column::Id), &texts));
        let query = Entity::find()
            .filter(is_it)
            .order_by(nearness((Entity, Column::Name), &texts), Order::Asc)
            .order_by_asc(Column::Name)
            .order_by_asc(Column::Id)
            .limit(limit(max));
        Ok(query.all(&conn).await?.into_iter().map(TunnelRow::from).collect())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_means_more_in_a_pattern_is_taken_as_it_is_written() {
        assert_eq!(escaped(r"a%b_c\d"), r"a\%b\_c\\d");
        assert_eq!(escaped("plain"), "plain");
    }
}
