//! Tables made anew from the events equal the ones that grew with them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use chrono::TimeDelta;
use lightship_migrations::{Migrator, MigratorTrait};
use sea_orm::{EntityTrait, IntoActiveModel};
use serde_json::json;

use super::support::*;
use crate::chance::Chance;
use crate::db::entities::{
    access_group, admin, agent as agent_entity, agent_key, approval, claim, command, event, failed_image,
    manual_rule, notification_target, order_key, registration_token, registration_token_usage,
    registry_login, removal, route, route_status, setting, tunnel, update_decision,
};
use crate::db::{Batch, Db, Expected};
use crate::domain::access::{self, AppOptions, Group, PolicySpec, Selector};
use crate::domain::command::{CommandKind, Outcome};
use crate::domain::drift::DriftState;
use crate::domain::event::{
    AccessEvent, AdminEvent, AgentEvent, CommandEvent, Event, KeyEvent, NotifyEvent, OwnedEvent, RouteEvent,
    RuleEvent, Stream, TunnelEvent, UpdateEvent,
};
use crate::domain::id::{
    AccountId, AgentId, ApprovalId, CommandId, ContainerId, GroupId, KeyId, RequestId, SecretId,
    ServiceTokenId, TargetId, TokenId, TunnelId, ZoneId,
};
use crate::domain::machine::OtherMachine;
use crate::domain::manual_rule::ManualRule;
use crate::domain::notify::{Channel, Target};
use crate::domain::order::SigningKey;
use crate::domain::owned::OwnedKind;
use crate::domain::role::Role;
use crate::domain::route::Release;
use crate::domain::token::TokenEvent;
use crate::domain::update::{ApprovalMode, Decision, FailedImage, Kind, PlanId, RunId, RunOutcome};

/// Random decisions about a small world, so that they meet each other.
struct World {
    chance: Chance,
    clock: i64,
}

impl World {
    fn pick(&self, of: usize) -> usize {
        (self.chance.fraction() * of as f64) as usize
    }

    fn named(&self, kind: &str, of: usize) -> String {
        format!("{kind}{}", self.pick(of))
    }

    fn agent(&self) -> AgentId {
        AgentId::new(self.named("agent", 5))
    }

    fn tunnel(&self) -> TunnelId {
        TunnelId::new(self.named("tunnel", 4))
    }

    fn role(&self) -> Role {
        [Role::Viewer, Role::Operator, Role::Admin][self.pick(3)]
    }

    fn decision(&mut self) -> (Stream, Event) {
        self.clock += 1;
        match self.pick(13) {
            11 => {
                let id = self.agent();
                (Stream::updates(&id), self.about_an_update(id))
            }
            0 => (Stream::keys(), self.about_a_key()),
            1 | 2 => {
                let id = self.agent();
                (Stream::agent(&id), self.about_an_agent(id))
            }
            3 | 4 => {
                let id = self.agent();
                (Stream::commands(&id), self.about_a_command(id))
            }
            12 => {
                let id = TokenId::new(self.named("token", 4));
                (Stream::token(&id), Event::Token(self.about_a_token(id)))
            }
            5..=8 => {
                let id = self.agent();
                (Stream::routes(&id), self.about_a_route(id))
            }
            _ => (Stream::admin(), self.about_the_rest()),
        }
    }

    fn about_an_update(&self, agent_id: AgentId) -> Event {
        let (kind, name) = (Kind::ALL[self.pick(2)], self.named("package", 5));
        if self.pick(2) == 0 {
            return Event::Update(self.about_a_plan(agent_id));
        }
        Event::Update(match self.pick(4) {
            0 => UpdateEvent::Reconsidered { agent_id, kind, name },
            1 => UpdateEvent::Decided { agent_id, kind, name, decision: Decision::Hold },
            2 => {
                let decision = Decision::Ignore { version: Some(self.named("v", 3)) };
                UpdateEvent::Decided { agent_id, kind, name, decision }
            }
            _ => {
                let decision = Decision::Snooze { until: at(self.clock) };
                UpdateEvent::Decided { agent_id, kind, name, decision }
            }
        })
    }

    fn about_a_plan(&self, agent_id: AgentId) -> UpdateEvent {
        let approval_id = ApprovalId::new(self.named("approval", 4));
        match self.pick(8) {
            7 => UpdateEvent::PlanScheduled { agent_id, approval_id },
            6 => UpdateEvent::PlanReissued {
                agent_id,
                approval_id,
                plan_id: PlanId::stored(self.named("plan", 3)),
                number: 1 + self.pick(9) as u64,
                command_id: CommandId::new(self.named("command", 12)),
            },
            5 => UpdateEvent::ImageFailed {
                agent_id,
                run_id: RunId::parse(&self.named("run", 5)).unwrap(),
                image: FailedImage {
                    digest: self.named("digest", 3),
                    image: self.named("image", 3),
                    reason: self.named("reason", 3),
                },
            },
            0 | 1 => UpdateEvent::PlanApproved {
                agent_id,
                approval_id,
                request_id: RequestId::new(self.named("request", 3)),
                plan_id: PlanId::stored(self.named("plan", 3)),
                number: 1 + self.pick(9) as u64,
                expires_at: at(self.clock + 600),
                given_from: (self.pick(2) == 0).then(|| "192.0.2.1".to_owned()),
                needs_second: self.pick(2) == 0,
                mode: ApprovalMode::ALL[self.pick(3)],
                approved_plan: (self.pick(3) == 0).then(|| PlanId::stored(self.named("plan", 3))),
                not_before: (self.pick(3) == 0).then(|| at(self.clock + 60)),
            },
            2 => {
                let command_id = CommandId::new(self.named("command", 12));
                let number = (self.pick(2) == 0).then(|| 1 + self.pick(9) as u64);
                UpdateEvent::PlanOrdered { agent_id, approval_id, command_id, number }
            }
            3 => UpdateEvent::PlanWithdrawn { agent_id, approval_id, reason: self.named("reason", 3) },
            _ => UpdateEvent::RunEnded {
                agent_id,
                run_id: RunId::parse(&self.named("run", 5)).unwrap(),
                plan_id: PlanId::stored(self.named("plan", 3)),
                approval_id: (self.pick(3) > 0).then_some(approval_id),
                undoes: None,
                begun_by: self.named("person", 2),
                started_at: at(self.clock),
                ended_at: at(self.clock + 5),
                outcome: RunOutcome::Failed { reason: self.named("reason", 3) },
            },
        }
    }

    fn about_a_key(&self) -> Event {
        let key_id = KeyId::new(self.named("key", 8));
        match self.pick(6) {
            5 => Event::Key(KeyEvent::Seated { key_id, seats: u32::try_from(1 + self.pick(3)).unwrap() }),
            0 => Event::Key(KeyEvent::Revoked { key_id }),
            1 => Event::Key(KeyEvent::Deleted { key_id }),
            2 => Event::Key(KeyEvent::Limited { key_id, hostname_patterns: self.patterns() }),
            _ => Event::Key(KeyEvent::Generated {
                sha256: format!("digest of {key_id}"),
                key_id,
                owner: self.named("owner", 3),
                rolled_from: (self.pick(2) == 0).then(|| KeyId::new("key0")),
            }),
        }
    }

    fn about_a_token(&self, token_id: TokenId) -> TokenEvent {
        match self.pick(6) {
            0 => TokenEvent::Revoked { token_id, reason: Some(self.named("reason", 3)) },
            // The others stay, so that there are some in the end.
            1 if token_id.as_str() == "token0" => TokenEvent::Deleted { token_id },
            2 => TokenEvent::Made {
                label: self.named("label", 3),
                sha256: format!("digest of {token_id}"),
                max_seats: 3,
                expires_at: at(self.clock + 600),
                metadata: BTreeMap::from([("site".to_owned(), json!("north"))]),
                token_id,
            },
            _ => TokenEvent::SeatTaken { token_id, agent_id: self.agent() },
        }
    }

    fn patterns(&self) -> Vec<String> {
        (0..self.pick(3)).map(|n| format!("*.{}.example.com", self.named("zone", n + 1))).collect()
    }

    fn about_an_agent(&self, agent_id: AgentId) -> Event {
        let key_id = KeyId::new(self.named("key", 8));
        let display_name = self.named("name", 9);
        match self.pick(18) {
            17 => Event::Agent(AgentEvent::MachineChanged { agent_id, seen: OtherMachine::MachineId }),
            13 => shares(registered(agent_id.as_str(), key_id.as_str())),
            16 => Event::Agent(AgentEvent::CredentialReused { agent_id }),
            14 => Event::Agent(AgentEvent::LeftKey { agent_id, key_id }),
            0 | 1 => registered(agent_id.as_str(), key_id.as_str()),
            2 => Event::Agent(AgentEvent::Updated {
                agent_id,
                display_name,
                version: Some(self.named("v", 4)),
            }),
            3 => Event::Agent(AgentEvent::Renamed { agent_id, display_name }),
            4 | 5 => enrolled(agent_id.as_str(), &self.named("tunnel", 4)),
            6 => Event::Agent(AgentEvent::Revoked { agent_id, key_id }),
            7 => Event::Agent(AgentEvent::KeyRolled { agent_id, key_id }),
            8 if self.pick(2) == 0 => Event::Agent(AgentEvent::Removed { agent_id }),
            8 => Event::Agent(AgentEvent::Offline {
                agent_id,
                last_seen: at(self.clock) + TimeDelta::nanoseconds(1_234),
            }),
            9 => Event::Agent(AgentEvent::Limited { agent_id, hostname_patterns: self.patterns() }),
            10 => Event::Agent(AgentEvent::Approved { agent_id }),
            11 => Event::Agent(AgentEvent::Moving { agent_id, from: self.tunnel(), to: self.tunnel() }),
            12 => Event::Agent(AgentEvent::Moved { agent_id, from: self.tunnel(), to: self.tunnel() }),
            _ => Event::Agent(AgentEvent::Back { agent_id }),
        }
    }

    fn about_a_command(&self, agent_id: AgentId) -> Event {
        let command_id = CommandId::new(self.named("command", 12));
        let command = CommandKind::StartTunnel {
            tunnel_id: TunnelId::new("tunnel0"),
            tunnel_name: "t".into(),
            secret_id: SecretId::new("s"),
        };
        let outcome = Outcome { succeeded: self.pick(2) == 0, message: "so".into(), finished_at: None };
        match self.pick(9) {
            0 | 1 => Event::Command(CommandEvent::Queued {
                agent_id,
                command_id,
                command,
                expires_at: at(self.clock + 600),
            }),
            2 => Event::Command(CommandEvent::Delivered {
                agent_id,
                command_id,
                attempt: 2,
                lease_until: at(self.clock + 90),
            }),
            3 => Event::Command(CommandEvent::Acknowledged { agent_id, command_id }),
            4 => Event::Command(CommandEvent::Requeued { agent_id, command_id }),
            5 => Event::Command(CommandEvent::Finished { agent_id, command_id, outcome }),
            6 => Event::Command(CommandEvent::Postponed {
                agent_id,
                command_id,
                expires_at: at(self.clock + 900),
            }),
            7 => Event::Command(CommandEvent::Renewed {
                agent_id,
                command_id,
                lease_until: at(self.clock + 300),
            }),
            _ => Event::Command(CommandEvent::Expired { agent_id, command_id }),
        }
    }

    fn about_a_route(&self, agent_id: AgentId) -> Event {
        let container_id = ContainerId::new(self.named("container", 4));
        let container_name = self.named("app", 3);
        let service = service(&self.named("host", 6), ["", "/a", "/b"][self.pick(3)]);
        let route = service.key.clone();
        match self.pick(8) {
            0..=2 => Event::Route(RouteEvent::Claimed { agent_id, container_id, container_name, service }),
            3 => Event::Route(RouteEvent::Changed { agent_id, container_id, container_name, service }),
            4 => {
                let explained = self.pick(2) == 0;
                Event::Route(RouteEvent::Lost { agent_id, route, due_at: at(self.clock + 600), explained })
            }
            5 => Event::Route(RouteEvent::Restored { agent_id, route, container_id }),
            6 => Event::Route(RouteEvent::Held { agent_id, route }),
            _ => Event::Route(RouteEvent::Released { agent_id, route, why: Release::Missing }),
        }
    }

    fn about_a_service_token(&self) -> AccessEvent {
        let (token_id, name) = (ServiceTokenId::new(self.named("token", 3)), self.named("ci", 3));
        match self.pick(3) {
            0 => AccessEvent::TokenCreated { token_id, name },
            1 => AccessEvent::TokenRotated { token_id, name, is_unconfirmed: self.pick(2) == 0 },
            _ => AccessEvent::TokenRevoked { token_id, name },
        }
    }

    fn about_the_rest(&self) -> Event {
        match self.pick(22) {
            17 => Event::Notify(NotifyEvent::TargetSet { target: Box::new(self.target()) }),
            // The others stay, so that there are some in the end.
            18 => Event::Notify(NotifyEvent::TargetRemoved { target_id: TargetId::new("target0") }),
            19 | 20 => Event::Owned(self.about_what_is_ours()),
            21 => Event::Access(self.about_a_service_token()),
            14..=16 => Event::Rule(self.about_a_rule()),
            13 => Event::Tunnel(TunnelEvent::Added {
                tunnel_id: self.tunnel(),
                account_id: AccountId::new("account"),
                tunnel_name: self.named("tunnel", 4),
                secret_id: SecretId::new(self.named("secret", 3)),
            }),
            12 => Event::Access(AccessEvent::GroupRemoved { group_id: GroupId::new("group0") }),
            11 => Event::Access(AccessEvent::GroupSet { group: self.group() }),
            10 => Event::Admin(AdminEvent::ImageLetGo { digest: self.named("digest", 3) }),
            9 => {
                let [first, second] =
                    [self.pick(4), self.pick(4)].map(|seed| SigningKey::from_seed(&[seed as u8; 32]));
                let endorsed = (self.pick(2) == 0).then(|| first.endorse(&second.public()));
                Event::Admin(AdminEvent::OrderKeySet { key: second.public(), endorsed })
            }
            7 => Event::Admin(AdminEvent::RegistryLoginSet {
                registry: self.named("registry", 3),
                account: self.named("account", 3),
            }),
            // The others stay, so that there are some in the end.
            8 => Event::Admin(AdminEvent::RegistryLoginRemoved { registry: "registry0".into() }),
            0 => Event::Tunnel(TunnelEvent::Confirmed {
                tunnel_id: self.tunnel(),
                by: self.named("person", 2),
            }),
            1 => Event::Tunnel(TunnelEvent::RecordForgotten {
                tunnel_id: TunnelId::new("tunnel0"),
                zone_id: ZoneId::new("zone"),
                name: self.named("host", 6),
            }),
            2 => Event::Tunnel(TunnelEvent::Made { tunnel_id: self.tunnel() }),
            3 if self.pick(3) == 0 => Event::Tunnel(TunnelEvent::Deleted { tunnel_id: self.tunnel() }),
            4 => Event::Admin(AdminEvent::Created { name: self.named("person", 2), role: self.role() }),
            5 => Event::Admin(AdminEvent::PasswordChanged { name: self.named("person", 2) }),
            _ => setting(&self.named("setting", 3), self.clock),
        }
    }

    fn about_what_is_ours(&self) -> OwnedEvent {
        let account_id = AccountId::new("account");
        let (tunnel_id, name) = (self.tunnel(), self.named("host", 6));
        let kind = OwnedKind::ALL[self.pick(5)];
        match self.pick(4) {
            0 => OwnedEvent::Drifted {
                account_id,
                tunnel_id,
                kind,
                name,
                wanted: self.named("value", 2),
                found: (self.pick(2) == 0).then(|| self.named("value", 2)),
                state: DriftState::Healing,
            },
            1 => OwnedEvent::Restored { account_id, tunnel_id, kind, name },
            2 => {
                let (tunnel_id, id) = (Some(tunnel_id), self.named("id", 3));
                OwnedEvent::Adopted { account_id, tunnel_id, kind, name, id, changes: Vec::new() }
            }
            _ => {
                let (agent_id, published) = (self.agent(), vec![name]);
                let (changed, withdrawn) = (Vec::new(), Vec::new());
                OwnedEvent::Reviewed { account_id, agent_id, published, changed, withdrawn }
            }
        }
    }

    fn about_a_rule(&self) -> RuleEvent {
        // Some names are never asked for by containers: one rule at least is there in the end.
        let hostname = self.named(["host", "nas"][self.pick(2)], 6);
        let spec = service(&hostname, ["", "/a"][self.pick(2)]);
        let tunnel_id = self.tunnel();
        match self.pick(4) {
            0 => RuleEvent::Removed { tunnel_id, route: spec.key },
            _ => RuleEvent::Set { rule: Box::new(ManualRule { tunnel_id, spec }) },
        }
    }

    fn target(&self) -> Target {
        Target {
            id: TargetId::new(self.named("target", 3)),
            name: self.named("name", 3),
            channel: Channel::Ntfy { server: "https://ntfy.sh".into() },
            about: None,
            quiet_hours: (self.pick(2) == 0).then(|| "22:00-07:00".parse().unwrap()),
        }
    }

    fn group(&self) -> Group {
        let selector = match self.pick(2) {
            0 => Selector::Everyone,
            _ => Selector::Email(format!("{}@example.com", self.named("person", 3))),
        };
        Group {
            id: GroupId::new(self.named("group", 3)),
            name: self.named("name", 3),
            options: AppOptions::default(),
            policies: vec![PolicySpec {
                name: None,
                decision: access::Decision::Allow,
                include: vec![selector],
                require: Vec::new(),
                exclude: Vec::new(),
            }],
        }
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::new(self.named("person", 3), at(self.clock));
        for _ in 0..=self.pick(4) {
            let (stream, event) = self.decision();
            batch = batch.append(stream, Expected::Head, vec![event]);
        }
        batch
    }
}

async fn rows<E: EntityTrait>(db: &Db) -> Vec<String>
where
    E::Model: Debug,
{
    let rows = E::find().all(&db.0.read).await.unwrap();
    let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

async fn everything(db: &Db) -> Vec<Vec<String>> {
    vec![
        rows::<agent_entity::Entity>(db).await,
        rows::<agent_key::Entity>(db).await,
        rows::<command::Entity>(db).await,
        rows::<route::Entity>(db).await,
        rows::<claim::Entity>(db).await,
        rows::<tunnel::Entity>(db).await,
        rows::<manual_rule::Entity>(db).await,
        rows::<admin::Entity>(db).await,
        rows::<setting::Entity>(db).await,
        rows::<registry_login::Entity>(db).await,
        rows::<access_group::Entity>(db).await,
        rows::<removal::Entity>(db).await,
        rows::<notification_target::Entity>(db).await,
        rows::<registration_token::Entity>(db).await,
        rows::<registration_token_usage::Entity>(db).await,
        rows::<update_decision::Entity>(db).await,
        rows::<approval::Entity>(db).await,
        rows::<order_key::Entity>(db).await,
        rows::<failed_image::Entity>(db).await,
    ]
}

/// The type words of the events that were written.
async fn written_types(db: &Db) -> BTreeSet<String> {
    let events = event::Entity::find().all(&db.0.read).await.unwrap();
    events.into_iter().map(|row| row.kind).collect()
}

/// The same registration of a second host.
fn shares(mut registered: Event) -> Event {
    if let Event::Agent(AgentEvent::Registered { shares_key, .. }) = &mut registered {
        *shares_key = true;
    }
    registered
}

#[tokio::test]
async fn a_rebuild_gives_the_tables_that_were_there() {
    let types = RefCell::new(BTreeSet::new());
    let (filled, tables) = (RefCell::new(BTreeSet::new()), Cell::new(0));
    for seed in 0..4 {
        on_every_engine(async |db| {
            let mut world = World { chance: Chance::seeded(seed), clock: 0 };
            let (mut written, mut refused) = (0, 0);
            for _ in 0..60 {
                let group: Vec<Batch> = (0..=world.pick(30)).map(|_| world.batch()).collect();
                for outcome in db.commit_many(group).await {
                    if outcome.is_ok() { written += 1 } else { refused += 1 }
                }
            }
            assert!(written > 400 && refused > 10, "seed {seed}: {written} written, {refused} refused");
            let grown = everything(&db).await;
            tables.set(grown.len());
            let with_rows = grown.iter().enumerate().filter(|(_, table)| !table.is_empty());
            filled.borrow_mut().extend(with_rows.map(|(at, _)| at));

            let replayed = db.rebuild().await.unwrap();

            assert!(replayed > crate::db::event_store::PAGE / 4, "seed {seed}: {replayed} events");
            assert_eq!(everything(&db).await, grown, "seed {seed}");
            assert!(db.verify_chain().await.unwrap().is_sound(), "seed {seed}");
            let written = written_types(&db).await;
            types.borrow_mut().extend(written);
        })
        .await;
    }
    assert_eq!(types.into_inner(), crate::domain::event::all_types(), "every type of event takes part");
    assert_eq!(filled.into_inner().len(), tables.get(), "every table had rows");
}

#[tokio::test]
async fn a_history_longer_than_a_page_is_replayed_whole() {
    let db = Db::in_memory(crate::io::Io::current()).await.unwrap();
    let events = 2 * crate::db::event_store::PAGE + 1;
    let group = (0..events).map(|n| batch(Stream::admin(), vec![setting("n", i64::try_from(n).unwrap())]));
    assert!(db.commit_many(group.collect()).await.iter().all(Result::is_ok));
    let grown = everything(&db).await;

    assert_eq!(db.rebuild().await.unwrap(), events);

    assert_eq!(everything(&db).await, grown);
    assert_eq!(db.verify_chain().await.unwrap().events, events);
}

#[tokio::test]
async fn claims_are_exactly_the_hostnames_that_have_routes() {
    let db = Db::in_memory(crate::io::Io::current()).await.unwrap();
    let mut world = World { chance: Chance::seeded(9), clock: 0 };
    for _ in 0..200 {
        db.commit_many((0..5).map(|_| world.batch()).collect()).await;

        let mut held: Vec<(String, String)> = route::Entity::find()
            .all(&db.0.read)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.hostname, row.agent_id))
            .collect();
        held.sort();
        held.dedup();
        let claims = claim::Entity::find().all(&db.0.read).await.unwrap();
        let mut claims: Vec<_> = claims.into_iter().map(|row| (row.hostname, row.agent_id)).collect();
        claims.sort();
        assert_eq!(claims, held);
    }
}

#[tokio::test]
async fn a_rebuild_drops_what_is_said_of_routes_that_nobody_holds() {
    on_every_engine(async |db| {
        let stream = |name: &str| Stream::routes(&AgentId::new(name));
        commit(&db, stream("a"), vec![claimed("a", "held.test", "")]).await.unwrap();
        let row = |agent: &str, hostname: &str, state: &str| route_status::Model {
            agent_id: agent.into(),
            hostname: hostname.into(),
            path: String::new(),
            state: state.into(),
            reason: None,
            cause: None,
            answer: None,
            updated_at: 1,
        };
        let rows = [
            row("a", "held.test", "published"),
            row("a", "gone.test", "published"),
            row("gone", "held.test", "failed"),
            row("b", "held.test", "conflict"),
        ];
        let rows = rows.map(IntoActiveModel::into_active_model);
        route_status::Entity::insert_many(rows).exec_without_returning(&db.0.write).await.unwrap();

        db.rebuild().await.unwrap();

        let left = route_status::Entity::find().all(&db.0.read).await.unwrap();
        let mut left: Vec<_> = left.into_iter().map(|row| (row.agent_id, row.hostname)).collect();
        left.sort();
        let of = |agent: &str| (agent.to_owned(), "held.test".to_owned());
        assert_eq!(left, [of("a"), of("b")]);
    })
    .await;
}

#[tokio::test]
async fn what_was_withdrawn_before_there_was_a_table_for_it_is_read_from_the_events() {
    on_every_engine(async |db| {
        // given: withdrawals, and what was made again
        let key = |key: &str| KeyId::new(key);
        let keys = vec![
            key_made("k-1"),
            key_made("k-2"),
            Event::Key(KeyEvent::Revoked { key_id: key("k-1") }),
            Event::Key(KeyEvent::Deleted { key_id: key("k-1") }),
            Event::Key(KeyEvent::Revoked { key_id: key("k-2") }),
        ];
        commit(&db, Stream::keys(), keys).await.unwrap();
        let group = |id: &str| Group {
            id: GroupId::new(id),
            name: id.into(),
            options: AppOptions::default(),
            policies: Vec::new(),
        };
        let set = |id: &str| Event::Access(AccessEvent::GroupSet { group: group(id) });
        let gone = |id: &str| Event::Access(AccessEvent::GroupRemoved { group_id: GroupId::new(id) });
        commit(&db, Stream::access(), vec![set("a"), set("b"), gone("a"), gone("b"), set("b")])
            .await
            .unwrap();
        let rule = |hostname: &str, tunnel: &str| {
            let (tunnel_id, spec) = (TunnelId::new(tunnel), service(hostname, "/x"));
            Event::Rule(RuleEvent::Set { rule: Box::new(ManualRule { tunnel_id, spec }) })
        };
        let gone = |hostname: &str, tunnel: &str| {
            let (tunnel_id, route) = (TunnelId::new(tunnel), service(hostname, "/x").key);
            Event::Rule(RuleEvent::Removed { tunnel_id, route })
        };
        let rules =
            vec![rule("a", "t-1"), rule("b", "t-1"), gone("a", "t-1"), gone("b", "t-1"), rule("b", "t-2")];
        commit(&db, Stream::rules(), rules).await.unwrap();
        let kept = rows::<removal::Entity>(&db).await;
        assert_eq!(kept.len(), 3, "{kept:?}");
        // when
        let this =
            Migrator::migrations().iter().rev().take_while(|one| one.name() != "m0025_notifications").count();
        Migrator::down(&db.0.write, Some(this.try_into().unwrap())).await.unwrap();
        Migrator::up(&db.0.write, None).await.unwrap();
        // then
        assert_eq!(rows::<removal::Entity>(&db).await, kept);
    })
    .await;
}
