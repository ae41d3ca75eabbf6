//! What: `removals`, what people withdrew for good: digests of keys that were dropped from the list, groups, rules of people
//! (derived from events; what is made anew by hand leaves it). Why: an import must not bring back what was withdrawn here.
//! Earlier withdrawals are read from the events. Previous release: does not read it.

use std::collections::BTreeMap;

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text};
use sea_orm_migration::sea_orm::prelude::Json;
use sea_orm_migration::sea_orm::{ConnectionTrait, Statement};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "removals";
const COLUMNS: [&str; 4] = ["kind", "id", "removed_at", "removed_by"];
/// Events that are read at a time.
const PAGE: i64 = 1_000;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let [kind, id, at, by] = COLUMNS;
        let removals = Table::create()
            .table(TABLE)
            .col(text(kind))
            .col(text(id))
            .col(big_integer(at))
            .col(text(by))
            .primary_key(Index::create().col(kind).col(id))
            .to_owned();
        manager.create_table(removals).await?;
        for ((kind, id), (at, by)) in withdrawn(manager).await? {
            let values = [Expr::val(kind), Expr::val(id), Expr::val(at), Expr::val(by)];
            let row = Query::insert().into_table(TABLE).columns(COLUMNS).values_panic(values).to_owned();
            manager.execute(row).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}

/// When, and by whom.
type Removal = (i64, String);

/// What the events so far withdrew.
async fn withdrawn(manager: &SchemaManager<'_>) -> Result<BTreeMap<(&'static str, String), Removal>, DbErr> {
    let connection = manager.get_connection();
    let (mut found, mut digests, mut last) = (BTreeMap::new(), BTreeMap::<String, String>::new(), 0_i64);
    loop {
        let question = format!(
            "SELECT seq, payload, at, actor FROM events WHERE stream IN ('keys', 'access', 'rules') AND seq > {last} \
             ORDER BY seq LIMIT {PAGE}"
        );
        let question = Statement::from_string(connection.get_database_backend(), question);
        let rows = connection.query_all_raw(question).await?;
        let is_last = rows.len() < PAGE as usize;
        for row in rows {
            last = row.try_get("", "seq")?;
            let payload: String = row.try_get("", "payload")?;
            let removal: Removal = (row.try_get("", "at")?, row.try_get("", "actor")?);
            let event: Json =
                payload.parse().map_err(|_| DbErr::Custom(format!("event {last} is no JSON")))?;
            let said =
                |place: &str| event.pointer(place).and_then(Json::as_str).unwrap_or_default().to_owned();
            let rule = |hostname: &str, path: &str| ("rule", format!("{}|{}", said(hostname), said(path)));
            match said("/type").as_str() {
                "key_generated" => drop(digests.insert(said("/key_id"), said("/sha256"))),
                "key_deleted" => {
                    if let Some(digest) = digests.remove(&said("/key_id")) {
                        found.insert(("key", digest), removal);
                    }
                }
                "access_group_set" => drop(found.remove(&("group", said("/group/id")))),
                "access_group_removed" => drop(found.insert(("group", said("/group_id")), removal)),
                "rule_set" => drop(found.remove(&rule("/hostname", "/path"))),
                "rule_removed" => drop(found.insert(rule("/route/hostname", "/route/path"), removal)),
                _ => {}
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}
