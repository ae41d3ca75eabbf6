//! All rows that one transaction touches, and the events it adds.

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait};

use super::entities::{
    access_application, access_group, access_policy, admin, agent, agent_key, agent_observed, applied_rule,
    approval, call_budget, claim, command, container, container_problem, dns_record, drift, event,
    failed_image, host, host_plan, manual_rule, notice, notification_condition, notification_message,
    notification_place, notification_target, notification_target_state, order_key, owned_tunnel, plan,
    refresh_token, registration_token, registration_token_usage, registry_login, removal, reviewed_route,
    route, route_status, run, scan, secret, session, setting, stream, tunnel, tunnel_connectors,
    tunnel_observed, tunnel_status, update, update_container, update_decision, update_log,
};
use super::events::{Recorded, newest_seq};
use super::needs::Needs;
use super::table::{Row, Table, row};

/// Events in one statement.
const INSERT_ROWS: usize = 1_000;

row!(stream, stream: String as Stream);
row!(agent, id: String as Id);
row!(agent_key, id: String as Id);
row!(command, id: String as Id);
row!(route, (hostname: String as Hostname), (path: String as Path));
row!(claim, hostname: String as Hostname);
row!(manual_rule, (hostname: String as Hostname), (path: String as Path));
row!(tunnel, id: String as Id);
row!(admin, name: String as Name);
row!(setting, key: String as Key);
row!(registry_login, registry: String as Registry);
row!(access_group, id: String as Id);
row!(removal, (kind: String as Kind), (id: String as Id));
row!(access_policy, (account_id: String as AccountId), (name: String as Name));
row!(access_application, (account_id: String as AccountId), (domain: String as Domain));
row!(agent_observed, agent_id: String as AgentId);
row!(container, (agent_id: String as AgentId), (id: String as Id));
row!(container_problem, (agent_id: String as AgentId), (container_id: String as ContainerId), (position: i32 as Position));
row!(tunnel_observed, agent_id: String as AgentId);
row!(applied_rule, (tunnel_id: String as TunnelId), (hostname: String as Hostname), (path: String as Path));
row!(dns_record, (zone_id: String as ZoneId), (name: String as Name));
row!(owned_tunnel, (account_id: String as AccountId), (name: String as Name));
row!(drift, (account_id: String as AccountId), (kind: String as Kind), (name: String as Name));
row!(reviewed_route, (agent_id: String as AgentId), (hostname: String as Hostname), (path: String as Path));
row!(route_status, (agent_id: String as AgentId), (hostname: String as Hostname), (path: String as Path));
row!(tunnel_status, tunnel_id: String as TunnelId);
row!(tunnel_connectors, tunnel_id: String as TunnelId);
row!(call_budget, account_id: String as AccountId);
row!(secret, id: String as Id);
row!(session, id: String as Id);
row!(registration_token, id: String as Id);
row!(registration_token_usage, (token_id: String as TokenId), (agent_id: String as AgentId));
row!(refresh_token, id: String as Id);
row!(update_log, (agent_id: String as AgentId), (place: i32 as Place));
row!(update, (agent_id: String as AgentId), (package_type: String as PackageType), (package_name: String as PackageName));
row!(update_container, (agent_id: String as AgentId), (package_name: String as PackageName), (container_id: String as ContainerId));
row!(update_decision, (agent_id: String as AgentId), (package_type: String as PackageType), (package_name: String as PackageName));
row!(scan, (agent_id: String as AgentId), (package_type: String as PackageType));
row!(host, agent_id: String as AgentId);
row!(plan, id: String as Id);
row!(host_plan, (agent_id: String as AgentId), (request_id: String as RequestId));
row!(run, (agent_id: String as AgentId), (id: String as Id));
row!(approval, (agent_id: String as AgentId), (id: String as Id));
row!(order_key, fingerprint: String as Fingerprint);
row!(failed_image, digest: String as Digest);
row!(notification_target, id: String as Id);
row!(notification_target_state, target_id: String as TargetId);
row!(notification_place, id: i32 as Id);
row!(notification_condition, (topic: String as Topic), (subject: String as Subject));
row!(notice, (target_id: String as TargetId), (topic: String as Topic), (subject: String as Subject));
row!(notification_message, id: String as Id);

/// Declares the tables once, and what is done with each of them.
macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident: $of:ident),+ $(,)?) => {
        /// The rows that one transaction touches.
        #[derive(Debug, Default)]
        pub(super) struct Unit {
            $(pub(super) $field: Table<$of::Model>,)+
            /// Events to be added, in order.
            pub(super) events: Vec<event::Model>,
            /// The same as they were decided.
            pub(super) recorded: Vec<Recorded>,
            /// Number of the newest event, those to be added included.
            pub(super) last_seq: i64,
            /// Number of events that batches before the current one add.
            kept_events: usize,
        }

        impl Unit {
            /// Ends a batch that stays.
            pub(super) fn keep(&mut self) {
                $(self.$field.keep();)+
                self.kept_events = self.events.len();
            }

            /// Number of events that batches before the current one add.
            pub(super) fn kept_events(&self) -> usize {
                self.kept_events
            }

            /// Takes back what was done since [`Unit::keep`].
            pub(super) fn undo(&mut self) {
                $(self.$field.undo();)+
                let dropped = self.events.len() - self.kept_events;
                self.events.truncate(self.kept_events);
                self.recorded.truncate(self.kept_events);
                self.last_seq -= i64::try_from(dropped).expect("a batch has few events");
            }

            async fn write_tables(&self, conn: &impl ConnectionTrait) -> Result<(), DbErr> {
                $(self.$field.write(conn).await?;)+
                Ok(())
            }
        }
    };
}

tables! {
    streams: stream,
    agents: agent,
    keys: agent_key,
    commands: command,
    routes: route,
    claims: claim,
    manual_rules: manual_rule,
    tunnels: tunnel,
    admins: admin,
    settings: setting,
    registry_logins: registry_login,
    access_groups: access_group,
    removals: removal,
    access_policies: access_policy,
    access_applications: access_application,
    agent_observed: agent_observed,
    containers: container,
    problems: container_problem,
    tunnel_observed: tunnel_observed,
    applied_rules: applied_rule,
    dns_records: dns_record,
    owned_tunnels: owned_tunnel,
    drifts: drift,
    reviewed_routes: reviewed_route,
    route_status: route_status,
    tunnel_status: tunnel_status,
    tunnel_connectors: tunnel_connectors,
    call_budgets: call_budget,
    secrets: secret,
    sessions: session,
    registration_tokens: registration_token,
    registration_token_usage: registration_token_usage,
    refresh_tokens: refresh_token,
    update_logs: update_log,
    updates: update,
    update_containers: update_container,
    update_decisions: update_decision,
    scans: scan,
    hosts: host,
    plans: plan,
    host_plans: host_plan,
    runs: run,
    approvals: approval,
    order_keys: order_key,
    failed_images: failed_image,
    targets: notification_target,
    target_states: notification_target_state,
    notification_place: notification_place,
    conditions: notification_condition,
    notices: notice,
    messages: notification_message,
}

impl Unit {
    /// Reads what `needs` names.
    pub(super) async fn load(conn: &impl ConnectionTrait, needs: Needs) -> Result<Self, DbErr> {
        let mut unit = Self::default();
        unit.load_heads(conn, &needs).await?;
        unit.load_projections(conn, &needs).await?;
        unit.load_observations(conn, needs).await?;
        Ok(unit)
    }

    async fn load_heads(&mut self, conn: &impl ConnectionTrait, needs: &Needs) -> Result<(), DbErr> {
        if needs.streams.is_empty() {
            return Ok(());
        }
        self.last_seq = newest_seq(conn).await?;
        self.streams.load(conn, needs.streams.iter().cloned()).await
    }

    async fn load_projections(&mut self, conn: &impl ConnectionTrait, needs: &Needs) -> Result<(), DbErr> {
        self.agents.load(conn, needs.agents.iter().cloned()).await?;
        self.keys.load(conn, needs.keys.iter().cloned()).await?;
        self.commands.load(conn, needs.commands.iter().cloned()).await?;
        self.claims.load(conn, needs.hostnames.iter().cloned()).await?;
        self.tunnels.load(conn, needs.tunnels.iter().cloned()).await?;
        self.admins.load(conn, needs.admins.iter().cloned()).await?;
        self.settings.load(conn, needs.settings.iter().cloned()).await?;
        self.registry_logins.load(conn, needs.registry_logins.iter().cloned()).await?;
        self.access_groups.load(conn, needs.access_groups.iter().cloned()).await?;
        self.targets.load(conn, needs.targets.iter().cloned()).await?;
        self.registration_tokens.load(conn, needs.registration_tokens.iter().cloned()).await?;
        for ids in chunks(&needs.registration_tokens) {
            let of_these = registration_token_usage::Column::TokenId.is_in(ids);
            self.registration_token_usage.load_where(conn, any(of_these)).await?;
        }
        for keys in chunks(&needs.agent_keys) {
            let uses = Condition::any().add(agent::Column::KeyId.is_in(keys.clone()));
            self.agents.load_where(conn, uses.add(agent::Column::SharedKeyId.is_in(keys))).await?;
        }
        for names in chunks(&needs.hostnames) {
            self.routes.load_where(conn, any(route::Column::Hostname.is_in(names.clone()))).await?;
            self.manual_rules.load_where(conn, any(manual_rule::Column::Hostname.is_in(names))).await?;
        }
        for ids in chunks(&needs.leaving_agents) {
            self.routes.load_where(conn, any(route::Column::AgentId.is_in(ids.clone()))).await?;
            self.claims.load_where(conn, any(claim::Column::AgentId.is_in(ids.clone()))).await?;
            self.update_decisions.load_where(conn, any(update_decision::Column::AgentId.is_in(ids))).await?;
        }
        self.update_decisions.load(conn, needs.update_decisions.iter().cloned()).await?;
        self.approvals.load(conn, needs.approvals.iter().cloned()).await?;
        self.failed_images.load(conn, needs.failed_images.iter().cloned()).await?;
        self.plans.load(conn, needs.plans.iter().cloned()).await?;
        for ids in chunks(&needs.tunnels_of_agents) {
            let has = Condition::any().add(tunnel::Column::AgentId.is_in(ids.clone()));
            self.tunnels.load_where(conn, has.add(tunnel::Column::Joining.is_in(ids))).await?;
        }
        Ok(())
    }

    async fn load_observations(&mut self, conn: &impl ConnectionTrait, needs: Needs) -> Result<(), DbErr> {
        self.agent_observed.load(conn, needs.agents_observed).await?;
        self.containers.load(conn, needs.containers.iter().cloned()).await?;
        self.tunnel_observed.load(conn, needs.tunnels_observed).await?;
        self.dns_records.load(conn, needs.dns_records).await?;
        self.owned_tunnels.load(conn, needs.owned_tunnels).await?;
        self.drifts.load(conn, needs.drifts).await?;
        self.access_policies.load(conn, needs.access_policies).await?;
        self.access_applications.load(conn, needs.access_applications).await?;
        self.route_status.load(conn, needs.route_status).await?;
        self.tunnel_status.load(conn, needs.tunnel_status).await?;
        self.tunnel_connectors.load(conn, needs.tunnel_connectors).await?;
        self.call_budgets.load(conn, needs.call_budgets).await?;
        self.target_states.load(conn, needs.target_states).await?;
        self.refresh_tokens.load(conn, needs.refresh_tokens).await?;
        self.update_logs.load(conn, needs.update_logs).await?;
        let of_containers: Vec<_> = needs.containers.into_iter().collect();
        for chunk in of_containers.chunks(200) {
            let of_these = chunk.iter().fold(Condition::any(), |any, (agent_id, id)| {
                let agent = container_problem::Column::AgentId.eq(agent_id);
                any.add(agent.and(container_problem::Column::ContainerId.eq(id)))
            });
            self.problems.load_where(conn, of_these).await?;
        }
        for ids in chunks(&needs.containers_of_agents) {
            self.containers.load_where(conn, any(container::Column::AgentId.is_in(ids.clone()))).await?;
            self.problems.load_where(conn, any(container_problem::Column::AgentId.is_in(ids))).await?;
        }
        for ids in chunks(&needs.forgotten_agents) {
            self.route_status.load_where(conn, any(route_status::Column::AgentId.is_in(ids.clone()))).await?;
            self.refresh_tokens
                .load_where(conn, any(refresh_token::Column::AgentId.is_in(ids.clone())))
                .await?;
            self.update_logs.load_where(conn, any(update_log::Column::AgentId.is_in(ids.clone()))).await?;
            self.updates.load_where(conn, any(update::Column::AgentId.is_in(ids.clone()))).await?;
            self.update_containers
                .load_where(conn, any(update_container::Column::AgentId.is_in(ids.clone())))
                .await?;
            self.scans.load_where(conn, any(scan::Column::AgentId.is_in(ids.clone()))).await?;
            self.host_plans.load_where(conn, any(host_plan::Column::AgentId.is_in(ids))).await?;
        }
        for agents in needs.images_of_agents.chunk_by(|one, other| one.0 == other.0) {
            for names in agents.chunks(400) {
                let of_agent = Condition::all().add(update_container::Column::AgentId.eq(&agents[0].0));
                let names = names.iter().map(|(_, name)| name.as_str());
                let these = of_agent.add(update_container::Column::PackageName.is_in(names));
                self.update_containers.load_where(conn, these).await?;
            }
        }
        for names in chunks(&needs.sessions_of_admins) {
            self.sessions.load_where(conn, any(session::Column::Admin.is_in(names))).await?;
        }
        for ids in chunks(&needs.reviewed_of_agents) {
            self.reviewed_routes.load_where(conn, any(reviewed_route::Column::AgentId.is_in(ids))).await?;
        }
        for ids in chunks(&needs.forgotten_targets) {
            self.notices.load_where(conn, any(notice::Column::TargetId.is_in(ids.clone()))).await?;
            self.messages.load_where(conn, any(notification_message::Column::TargetId.is_in(ids))).await?;
        }
        if needs.all_conditions {
            self.conditions.load_where(conn, Condition::all()).await?;
        }
        for ids in chunks(&needs.applied_rules) {
            self.applied_rules.load_where(conn, any(applied_rule::Column::TunnelId.is_in(ids))).await?;
        }
        Ok(())
    }

    /// Writes the new events and every row that differs.
    pub(super) async fn write(self, conn: &impl ConnectionTrait) -> Result<(), DbErr> {
        self.write_tables(conn).await?;
        insert(conn, self.events).await
    }
}

/// Writes new events.
async fn insert(conn: &impl ConnectionTrait, events: Vec<event::Model>) -> Result<(), DbErr> {
    let mut events = events.into_iter().map(event::ActiveModel::from).peekable();
    while events.peek().is_some() {
        let rows: Vec<_> = events.by_ref().take(INSERT_ROWS).collect();
        event::Entity::insert_many(rows).exec_without_returning(conn).await?;
    }
    Ok(())
}

fn any(expression: sea_orm::sea_query::SimpleExpr) -> Condition {
    Condition::any().add(expression)
}

fn chunks(ids: &std::collections::BTreeSet<String>) -> impl Iterator<Item = Vec<String>> {
    let ids: Vec<String> = ids.iter().cloned().collect();
    let chunks: Vec<Vec<String>> = ids.chunks(400).map(<[String]>::to_vec).collect();
    chunks.into_iter()
}
