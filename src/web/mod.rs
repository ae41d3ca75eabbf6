//! The HTTP side of the master: every route on one screen.
//!
//! Handlers are thin: who may call is their first argument, reads come from `db::read`, changes go to
//! [`Master`](crate::actors::master::Master). Failures are worded in `speak` by the dialect of the path.

mod access_groups;
mod access_token;
mod activity;
pub mod agent_api;
mod agent_limit;
pub mod api;
pub mod assets;
pub mod attempts;
pub mod auth;
pub mod body;
mod check_ins;
mod connectors;
mod credential;
mod doubts;
pub mod error;
mod forwarded;
mod hashing;
mod label_words;
mod listings;
mod notifications;
pub mod openapi;
pub mod ops;
pub mod pages;
pub mod password;
mod password_check;
mod patience;
mod picture;
mod planned;
mod query;
mod rated;
mod rates;
mod records;
mod room;
mod route;
mod rules;
pub mod server;
mod service_tokens;
mod session;
mod speak;
pub mod state;
mod story;
mod token_check;
mod wording;

use actix_web::HttpMessage;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::{Compress, DefaultHeaders};
use actix_web::web::{self, ServiceConfig};

pub use patience::Patience;
pub use server::{Listen, serve, serve_with};
pub use state::{WebSettings, WebState};

use agent_api::{cloudflare_proxy, redflag as agent, v2, v3};
use api::redflag::{self as people, install};
use api::service_tokens as tokens;
use api::{
    access, admins, adopt, doctor, events, explain, keys, legacy, legacy_rules, native,
    notifications as told, overview, plans, registries, runs, updates,
};
use route::at;
use speak::speak;

/// Declares every route; the router tries them in this order.
pub fn configure(config: &mut ServiceConfig) {
    agents(config);
    machines(config);
    scripts(config);
    redflag(config);
    people(config);
}

/// What agents call, hot paths first.
fn agents(config: &mut ServiceConfig) {
    config
        .service(at("/api/v2/agents/{id}/events").post(v2::events))
        .service(at("/api/v3/agents/{id}/reports").post(v3::reports))
        .service(at("/api/v2/agents/{id}/commands").get_only(v2::commands).head(v2::commands_head))
        .service(at("/api/v3/agents/{id}/commands").get_only(v3::commands).head(v3::commands_head))
        .service(at("/api/v3/agents/{id}/commands/{command_id}/ack").post(v3::acknowledge))
        .service(at("/api/v3/agents/{id}/commands/{command_id}/result").post(v3::result))
        .service(at("/api/v3/agents/{id}/images").post(v3::images))
        .service(at("/api/v3/agents/{id}/plans").post(v3::plans))
        .service(at("/api/v3/agents/{id}/runs").post(v3::runs))
        .service(at("/api/v2/agents/register").post(v2::register))
        .service(at("/accounts").get(cloudflare_proxy::accounts))
        .service(
            at("/accounts/{account}/cfd_tunnel/{tunnel}/configurations")
                .put(cloudflare_proxy::put_configuration),
        );
}

/// What watches the master.
fn machines(config: &mut ServiceConfig) {
    config
        .service(at("/healthz").get(ops::healthz))
        .service(at("/readyz").get(ops::readyz))
        .service(at("/metrics").get(ops::metrics))
        .service(at("/api/openapi.json").get(openapi::description));
}

/// Pages and lists are compressed; events, reports and streams are not.
fn compression() -> Compress {
    Compress::default()
}

/// The admin API.
fn scripts(config: &mut ServiceConfig) {
    let compress = compression;
    config
        .service(
            web::scope("/api/v2")
                .wrap(compress())
                .wrap(protection())
                .service(at("/agents/generate-key").post(keys::generate))
                .service(at("/agents/revoke-key").post(keys::revoke))
                .service(at("/agents/keys/revoked").delete(keys::delete_revoked))
                .service(at("/agents/keys/cleanup").post(keys::cleanup))
                .service(at("/agents").get(api::agents::list))
                .service(at("/agents/{id}/enroll").post(api::agents::enroll))
                .service(at("/agents/{id}/redeploy-tunnel").post(api::agents::redeploy))
                .service(at("/agents/{id}/rename").post(api::agents::rename))
                .service(at("/agents/{id}/roll-key").post(api::agents::roll_key))
                .service(at("/agents/{id}/remove").post(api::agents::remove))
                // After those: an agent may be called `keys`, and no key is called `remove`.
                .service(at("/agents/keys/{id}").delete(keys::delete))
                .service(at("/overview").get(overview::overview))
                .service(at("/services").get(overview::services))
                .service(at("/rules/manual").post(api::rules::legacy_set))
                .service(at("/rules/manual/{key}").delete(api::rules::legacy_remove))
                .service(at("/rules/{key}/force-delete").post(legacy_rules::force_delete))
                .service(at("/rules/{key}/access-policy").put(legacy_rules::set_access))
                .service(at("/zones").get(legacy::zones))
                .service(at("/tunnels/account").get(legacy::tunnels))
                .service(at("/tunnels/{id}/dns-records").get(legacy::records))
                .service(at("/reconciliation-status").get(legacy::reconciliation_status))
                .service(at("/reconcile").post(legacy::reconcile))
                .service(at("/ping").get(overview::ping))
                .default_service(web::to(api::refused::fallback)),
        )
        .service(
            web::scope("/api/v3")
                .wrap(compress())
                .wrap(protection())
                .service(at("/agents/{id}/approve").post(api::agents::approve))
                .service(at("/agents/{id}/scan").post(api::agents::scan))
                .service(
                    at("/agents/{id}/connector-log")
                        .get(api::agents::connector_log)
                        .post(api::agents::ask_for_connector_log),
                )
                .service(at("/agents/{id}/revoke").post(api::agents::revoke))
                .service(at("/agents/{id}/limit").post(api::agents::limit))
                .service(at("/agents/{id}/move").post(api::agents::move_names))
                .service(at("/keys/{id}/seats").post(keys::seats))
                .service(at("/keys/digests/{sha256}").get(keys::known).put(keys::take))
                .service(at("/removed").post(api::removed::among))
                .service(at("/admins/{name}/password").post(admins::set_password))
                .service(at("/routes").get(overview::routes))
                .service(at("/rules/manual").get(api::rules::list).put(api::rules::set))
                .service(at("/rules/manual/{key}").delete(api::rules::remove))
                .service(at("/rules/foreign").get(api::rules::foreign))
                .service(at("/rules/import").post(api::rules::import))
                .service(at("/access/groups").get(access::list))
                .service(at("/access/groups/{id}").get(access::show).put(access::set).delete(access::remove))
                .service(at("/access/service-tokens").get(tokens::list).post(tokens::create))
                .service(at("/access/service-tokens/{id}").delete(tokens::revoke))
                .service(at("/access/service-tokens/{id}/rotate").post(tokens::rotate))
                .service(at("/cloudflare/limits").get(api::limits::show))
                .service(at("/notifications/targets").get(told::list))
                .service(at("/notifications/targets/{id}").put(told::set).delete(told::remove))
                .service(at("/notifications/targets/{id}/test").post(told::test))
                .service(at("/notifications/outbox").get(told::outbox))
                .service(at("/explain").get(explain::explain))
                .service(at("/doctor").get(doctor::look))
                .service(at("/updates").get(updates::list))
                .service(at("/updates/summary").get(updates::summary))
                .service(at("/updates/decisions").post(updates::decide))
                .service(at("/updates/{id}").get(updates::show))
                .service(at("/registries/events").post(registries::pushed))
                .service(at("/registries/logins").get(registries::list))
                .service(at("/registries/logins/{registry}").put(registries::set).delete(registries::remove))
                .service(at("/plans").post(plans::ask))
                .service(at("/plans/{request}").get(plans::show))
                .service(at("/plans/{request}/approve").post(plans::approve))
                .service(at("/approvals").get(plans::approvals))
                .service(at("/approvals/{id}").get(plans::approval))
                .service(at("/approvals/{id}/second").post(plans::second))
                .service(at("/approvals/{id}/withdraw").post(plans::withdraw))
                .service(at("/runs").get(runs::list))
                .service(at("/runs/{agent}/{run}").get(runs::show))
                .service(at("/runs/{agent}/{run}/cancel").post(runs::cancel))
                .service(at("/held-images").get(runs::held_images))
                .service(at("/held-images/{digest}/let-go").post(runs::let_go))
                .service(at("/order-key").get(runs::order_key))
                .service(at("/order-key/exchange").post(runs::exchange_order_key))
                .service(at("/adopt").get(adopt::list).post(adopt::adopt))
                .service(at("/plan").get(native::plan))
                .service(at("/apply").post(native::apply))
                .service(at("/events").get(events::list))
                .service(at("/events/export").get(events::export))
                .service(at("/events/{seq}").get(events::show))
                .service(at("/tree").get(native::tree)),
        );
}

/// RedFlag's API, of its agents and of people.
fn redflag(config: &mut ServiceConfig) {
    let compress = compression;
    config.service(
        web::scope("/api/v1")
            .wrap(compress())
            .wrap(protection())
            .wrap_fn(with_limits)
            .service(at("/agents/register").post(agent::register))
            .service(at("/agents/renew").post(agent::renew))
            .service(at("/agents/{id}/commands").get_only(agent::commands).head(agent::commands_head))
            .service(at("/agents/{id}/updates").get(people::updates::of_agent).post(agent::updates))
            .service(at("/agents/{id}/logs").post(agent::logs))
            .service(at("/agents/{id}/dependencies").post(agent::dependencies))
            .service(at("/agents/{id}/system-info").post(agent::system_info))
            .service(at("/agents/{id}/rapid-mode").post(agent::rapid_mode))
            .service(at("/commands").get_only(agent::own_commands).head(agent::commands_head))
            .service(at("/updates").get(people::updates::list).post(agent::own_updates))
            .service(at("/auth/login").post(people::login::login))
            .service(at("/auth/logout").post(people::login::logout))
            .service(at("/auth/verify").get(people::login::verify))
            .service(at("/agents").get(people::agents::list))
            .service(at("/agents/{id}").get(people::agents::one).delete(agent::unregister))
            .service(at("/agents/{id}/scan").post(people::agents::scan))
            .service(
                at("/agents/{id}/heartbeat")
                    .get(people::agents::heartbeat)
                    .post(people::agents::set_heartbeat),
            )
            .service(at("/agents/{id}/update").post(people::install::update_host))
            .service(at("/agents/{id}/reboot").post(people::agents::reboot))
            .service(at("/updates/approve").post(install::approve_many))
            .service(at("/updates/{id}").get(people::updates::one))
            .service(at("/updates/{id}/logs").get(people::updates::logs))
            .service(at("/updates/{id}/reject").post(people::updates::reject))
            .service(at("/updates/{id}/approve").post(install::approve))
            .service(at("/updates/{id}/install").post(install::install))
            .service(at("/updates/{id}/confirm-dependencies").post(install::confirm_dependencies))
            .service(at("/commands/active").get(people::commands::active))
            .service(at("/commands/recent").get(people::commands::recent))
            .service(at("/commands/failed").delete(people::commands::archive))
            .service(at("/commands/{id}/retry").post(people::commands::retry))
            .service(at("/commands/{id}/cancel").post(people::commands::cancel))
            .service(at("/logs").get(people::logs::list))
            .service(at("/logs/active").get(people::updates::active))
            .service(at("/stats/summary").get(people::updates::summary))
            .service(at("/settings/timezone").get(people::settings::zone).put(people::settings::set_zone))
            .service(at("/settings/timezones").get(people::settings::zones))
            .configure(redflag_admin),
    );
}

/// What RedFlag has below `/admin`.
fn redflag_admin(config: &mut ServiceConfig) {
    use people::{limits, tokens};
    config
        .service(at("/admin/registration-tokens").get(tokens::list).post(tokens::make))
        .service(at("/admin/registration-tokens/active").get(tokens::active))
        .service(at("/admin/registration-tokens/cleanup").post(tokens::cleanup))
        .service(at("/admin/registration-tokens/stats").get(tokens::statistics))
        .service(at("/admin/registration-tokens/validate").get(tokens::validate))
        .service(at("/admin/registration-tokens/delete/{id}").delete(tokens::delete))
        .service(at("/admin/registration-tokens/{token}").delete(tokens::revoke))
        .service(at("/admin/rate-limits").get(limits::show).put(limits::set))
        .service(at("/admin/rate-limits/reset").post(limits::reset))
        .service(at("/admin/rate-limits/cleanup").post(limits::cleanup))
        .service(at("/admin/rate-limits/stats").get(limits::stats));
}

/// Says in the answers of limited routes what is left.
fn with_limits<S, B>(
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<B>, actix_web::Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    let answer = service.call(request);
    async move {
        let mut answer = answer.await?;
        let left = answer.request().extensions().get::<rates::Left>().copied();
        if let Some(left) = left {
            rated::show(&left, answer.headers_mut());
        }
        Ok(answer)
    }
}

/// What people may open in a browser has the headers that pages have.
fn protection() -> DefaultHeaders {
    pages::HEADERS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// The pages.
fn people(config: &mut ServiceConfig) {
    config
        .service(at("/assets/{path:.*}").get(assets::asset))
        .service(at("/live").get(pages::live::live))
        .service(at("/login").get(pages::sign_in::login).post(pages::sign_in::sign_in))
        .service(at("/logout").post(pages::sign_in::sign_out))
        .service(at("/setup").get(pages::set_up::show).post(pages::set_up::set_up))
        .service(at("/").get(pages::overview::show))
        .service(at("/agents").get(pages::agents::list))
        .service(at("/agents/keys").get(pages::agent::show_keys).post(pages::agents::make))
        .service(at("/agents/keys/{id}/revoke").post(pages::keys::revoke))
        .service(at("/agents/keys/{id}/delete").post(pages::keys::delete))
        .service(at("/tokens").post(pages::tokens::make))
        .service(at("/tokens/{id}/revoke").post(pages::tokens::revoke))
        .service(at("/tokens/{id}/delete").post(pages::tokens::delete))
        .service(at("/agents/{id}").get(pages::agent::show))
        .service(at("/agents/{id}/enroll").post(pages::agent_actions::enroll))
        .service(at("/agents/{id}/approve").post(pages::agent_actions::approve))
        .service(at("/agents/{id}/scan").post(pages::agent_actions::scan))
        .service(at("/agents/{id}/connector-log").post(pages::agent_actions::connector_log))
        .service(at("/agents/{id}/plan").post(pages::agent_plan::ask_host))
        .service(at("/agents/{id}/move").post(pages::agent_actions::move_names))
        .service(at("/agents/{id}/rename").post(pages::agent_actions::rename))
        .service(at("/agents/{id}/limit").post(pages::agent_actions::limit))
        .service(at("/agents/{id}/seat").post(pages::agent_actions::seat))
        .service(at("/agents/{id}/redeploy").post(pages::agent_actions::redeploy))
        .service(at("/agents/{id}/roll-key").post(pages::keys::roll))
        .service(at("/agents/{id}/revoke").post(pages::agent_actions::revoke))
        .service(at("/agents/{id}/remove").post(pages::agent_actions::remove))
        .service(at("/routes").get(pages::routes::show))
        .service(at("/routes/apply").post(pages::routes::apply))
        .service(at("/routes/adopt").get(pages::adopt::show).post(pages::adopt::adopt))
        .service(at("/routes/rule").get(pages::rule::show).post(pages::rule::set))
        .service(at("/routes/rule/{key}/remove").post(pages::rule::remove))
        .service(at("/access").get(pages::access::show))
        .service(at("/access/groups").post(pages::access::set))
        .service(at("/access/groups/{id}/remove").post(pages::access::remove))
        .service(at("/access/tokens").post(pages::access::tokens::create))
        .service(at("/access/tokens/{id}/rotate").post(pages::access::tokens::rotate))
        .service(at("/access/tokens/{id}/revoke").post(pages::access::tokens::revoke))
        .service(at("/notifications").get(pages::notifications::show))
        .service(at("/notifications/targets").post(pages::notifications::set))
        .service(at("/notifications/targets/{id}/test").post(pages::notifications::test))
        .service(at("/notifications/targets/{id}/remove").post(pages::notifications::remove))
        .service(at("/routes/of").get(pages::story::show))
        .service(at("/updates").get(pages::updates::list))
        .service(at("/updates/of").get(pages::update::show))
        .service(at("/updates/decide").post(pages::updates::decide))
        .service(at("/updates/plan").post(pages::updates::plan))
        .service(at("/plans/{request}").get(pages::plans::show))
        .service(at("/plans/{request}/approve").post(pages::plans::approve))
        .service(at("/plans/{request}/let-go").post(pages::plans::let_go::let_go))
        .service(at("/approvals/{id}/second").post(pages::plans::second))
        .service(at("/approvals/{id}/withdraw").post(pages::plans::withdraw))
        .service(at("/runs").get(pages::runs::list))
        .service(at("/runs/{agent}/{run}").get(pages::run::show))
        .service(at("/runs/{agent}/{run}/undo").post(pages::run::undo))
        .service(at("/runs/{agent}/{run}/cancel").post(pages::run::cancel))
        .service(at("/activity").get(pages::activity::list))
        .service(at("/activity/of").get(pages::activity::show))
        .service(at("/search").get(pages::search::show))
        .service(at("/cloudflare").get(pages::cloudflare::show))
        .service(at("/system").get(pages::system::show))
        .service(at("/settings").get(pages::token::show))
        .service(at("/settings/check-token").post(pages::token::check))
        .service(at("/settings/token").post(pages::token::take))
        .service(at("/api/docs").get(pages::api_docs::show))
        .service(at("/registries/logins").post(pages::system::set_login))
        .service(at("/registries/logins/{registry}/remove").post(pages::registries::remove))
        .service(at("/fragments/overview").get(pages::overview::fragment))
        .service(at("/fragments/agents").get(pages::agents::fragment))
        .service(at("/fragments/keys").get(pages::keys::fragment))
        .service(at("/fragments/agents/{id}").get(pages::agent::fragment))
        .service(at("/fragments/routes").get(pages::routes::fragment))
        .service(at("/fragments/access").get(pages::access::fragment))
        .service(at("/fragments/notifications").get(pages::notifications::fragment))
        .service(at("/fragments/routes/of").get(pages::story::fragment))
        .service(at("/fragments/updates").get(pages::updates::list_fragment))
        .service(at("/fragments/updates/of").get(pages::update::fragment))
        .service(at("/fragments/plans/{request}").get(pages::plans::fragment))
        .service(at("/fragments/runs").get(pages::runs::list_fragment))
        .service(at("/fragments/runs/{agent}/{run}").get(pages::run::fragment))
        .service(at("/fragments/cloudflare").get(pages::cloudflare::fragment))
        .service(at("/fragments/activity").get(pages::activity::fragment))
        .service(at("/fragments/system").get(pages::system::fragment))
        .service(at("/fragments/registries").get(pages::registries::fragment));
}

/// Around every request: doubled slashes are one, and failures are worded. A function and not a middleware that is
/// boxed: it is part of every heartbeat.
pub fn outermost<S>(
    mut request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<BoxBody>, actix_web::Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>,
{
    if request.path().contains("//") || request.uri().to_string().contains("%00") {
        mend_address(&mut request);
    }
    let answer = service.call(request);
    async move { Ok(speak(answer.await?)) }
}

/// DockFlare agents whose base address ends with a slash send `//api/v2/...`; and no text has a NUL, as in bodies.
fn mend_address(request: &mut ServiceRequest) {
    let mut path = String::with_capacity(request.path().len());
    for part in request.path().split('/').filter(|part| !part.is_empty()) {
        path.push('/');
        path.push_str(part);
    }
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    let Ok(path) = PathAndQuery::try_from(path.replace("%00", "%EF%BF%BD")) else { return };
    parts.path_and_query = Some(path);
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}
