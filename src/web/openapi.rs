//! The description of the API, made of what stands at the handlers.

use actix_web::HttpResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::auth::Anyone;
use super::{agent_api, api, assets, ops, pages};

/// Everything that is served.
#[derive(OpenApi)]
#[openapi(
    info(title = "Lightship", description = "Agents, routes and keys. `docs/api.md` has the words to it."),
    modifiers(&Locks),
    paths(
        agent_api::v2::register, agent_api::v2::commands, agent_api::v2::events,
        agent_api::v3::reports, agent_api::v3::commands, agent_api::v3::acknowledge, agent_api::v3::result,
        agent_api::v3::images, agent_api::v3::plans, agent_api::v3::runs,
        agent_api::redflag::register, agent_api::redflag::renew, agent_api::redflag::commands, agent_api::redflag::updates,
        agent_api::redflag::logs, agent_api::redflag::dependencies, agent_api::redflag::system_info,
        agent_api::redflag::rapid_mode, agent_api::redflag::unregister, agent_api::redflag::own_commands,
        agent_api::redflag::own_updates,
        api::redflag::login::login, api::redflag::login::logout, api::redflag::login::verify,
        api::redflag::agents::list, api::redflag::agents::one, api::redflag::agents::scan, api::redflag::agents::heartbeat,
        api::redflag::agents::set_heartbeat, api::redflag::agents::reboot,
        api::redflag::updates::list, api::redflag::updates::of_agent, api::redflag::updates::one,
        api::redflag::updates::logs, api::redflag::updates::reject, api::redflag::updates::active,
        api::redflag::updates::summary, api::redflag::install::update_host, api::redflag::install::approve, api::redflag::install::approve_many,
        api::redflag::install::install, api::redflag::install::confirm_dependencies,
        api::redflag::commands::active, api::redflag::commands::recent, api::redflag::commands::archive,
        api::redflag::commands::retry, api::redflag::commands::cancel, api::redflag::logs::list,
        api::redflag::settings::zone, api::redflag::settings::zones, api::redflag::settings::set_zone,
        api::redflag::tokens::list, api::redflag::tokens::make, api::redflag::tokens::active,
        api::redflag::tokens::cleanup, api::redflag::tokens::statistics, api::redflag::tokens::validate,
        api::redflag::tokens::delete, api::redflag::tokens::revoke,
        api::redflag::limits::show, api::redflag::limits::set, api::redflag::limits::reset,
        api::redflag::limits::cleanup, api::redflag::limits::stats,
        agent_api::cloudflare_proxy::accounts, agent_api::cloudflare_proxy::put_configuration,
        ops::healthz, ops::readyz, ops::metrics, description,
        api::keys::generate, api::keys::revoke, api::keys::delete, api::keys::delete_revoked, api::keys::cleanup, api::keys::seats,
        api::keys::known, api::keys::take, api::removed::among,
        api::agents::list, api::agents::enroll, api::agents::redeploy, api::agents::move_names, api::agents::approve, api::agents::scan, api::agents::ask_for_connector_log, api::agents::connector_log, api::agents::rename, api::agents::roll_key,
        api::agents::remove, api::agents::revoke, api::agents::limit,
        api::admins::set_password,
        api::overview::overview, api::overview::services, api::overview::ping, api::overview::routes,
        api::access::list, api::access::show, api::access::set, api::access::remove,
        api::service_tokens::list, api::service_tokens::create, api::service_tokens::rotate, api::service_tokens::revoke,
        api::limits::show,
        api::notifications::list, api::notifications::set, api::notifications::remove, api::notifications::test,
        api::notifications::outbox,
        api::plans::ask, api::plans::show, api::plans::approve, api::plans::approvals, api::plans::approval,
        api::plans::second, api::plans::withdraw, api::runs::list, api::runs::show, api::runs::cancel, api::runs::order_key, api::runs::held_images, api::runs::let_go,
        api::runs::exchange_order_key,
        api::rules::list, api::rules::set, api::rules::remove, api::rules::foreign, api::rules::import,
        api::rules::legacy_set, api::rules::legacy_remove, api::legacy_rules::set_access, api::legacy_rules::force_delete,
        api::legacy::zones, api::legacy::tunnels, api::legacy::records, api::legacy::reconciliation_status, api::legacy::reconcile,
        api::updates::list, api::updates::summary, api::updates::show, api::updates::decide,
        api::registries::pushed, api::registries::list, api::registries::set, api::registries::remove,
        api::doctor::look, api::explain::explain,
        api::adopt::list, api::adopt::adopt, api::native::plan, api::native::apply, api::native::tree,
        api::events::list, api::events::export, api::events::show,
        assets::asset, pages::live::live, pages::api_docs::show,
        pages::sign_in::login, pages::sign_in::sign_in, pages::sign_in::sign_out, pages::set_up::show,
        pages::set_up::set_up, pages::overview::show, pages::overview::fragment,
        pages::agents::list, pages::agents::fragment,
        pages::tokens::make, pages::tokens::revoke, pages::tokens::delete,
        pages::keys::fragment, pages::agents::make, pages::keys::roll, pages::keys::revoke, pages::keys::delete,
        pages::agent_actions::enroll, pages::agent_actions::approve, pages::agent_actions::scan, pages::agent_actions::connector_log, pages::agent_actions::move_names, pages::agent_actions::seat, pages::agent_actions::rename, pages::agent_actions::limit,
        pages::agent_actions::redeploy, pages::agent_actions::revoke, pages::agent_actions::remove,
        pages::agent::show, pages::agent::show_keys, pages::agent::fragment,
        pages::routes::show, pages::routes::apply, pages::routes::fragment,
        pages::adopt::show, pages::adopt::adopt, pages::rule::show, pages::rule::set, pages::rule::remove,
        pages::access::show, pages::access::fragment, pages::access::set, pages::access::remove,
        pages::access::tokens::create, pages::access::tokens::rotate, pages::access::tokens::revoke,
        pages::notifications::show, pages::notifications::fragment, pages::notifications::set,
        pages::notifications::test, pages::notifications::remove,
        pages::story::show, pages::story::fragment,
        pages::updates::list, pages::updates::list_fragment, pages::update::show, pages::update::fragment,
        pages::updates::decide, pages::updates::plan,
        pages::agent_plan::ask_host, pages::plans::show, pages::plans::fragment, pages::plans::approve, pages::plans::let_go::let_go,
        pages::plans::second, pages::plans::withdraw,
        pages::runs::list, pages::runs::list_fragment, pages::run::show, pages::run::fragment, pages::run::undo, pages::run::cancel,
        pages::system::show, pages::system::fragment, pages::token::show, pages::token::check, pages::token::take,
        pages::activity::list, pages::activity::fragment, pages::activity::show, pages::search::show,
        pages::cloudflare::show, pages::cloudflare::fragment,
        pages::system::set_login, pages::registries::remove, pages::registries::fragment,
    )
)]
pub struct Description;

struct Locks;

impl Modify for Locks {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let parts = api.components.get_or_insert_default();
        let bearer = || SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        parts.add_security_scheme("agent_key", bearer());
        parts.add_security_scheme("admin_token", bearer());
        parts.add_security_scheme("push_token", bearer());
        parts.add_security_scheme("redflag_access", bearer());
        let cookie = ApiKeyValue::new(super::session::COOKIE);
        parts.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// `GET /api/openapi.json`.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", responses((status = 200)), security(()))]
pub async fn description(_: Anyone) -> HttpResponse {
    HttpResponse::Ok().json(Description::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_route_is_described() {
        let described = serde_json::to_value(Description::openapi()).unwrap();
        let routes = include_str!("mod.rs");
        let mut scope = "";
        let mut seen = 0;
        for line in routes.lines() {
            if line.contains("web::scope(") {
                scope = line.split('"').nth(1).unwrap();
            } else if line.starts_with("fn redflag_admin") {
                scope = "/api/v1";
            } else if line == "}" {
                scope = "";
            }
            let Some(rest) = line.split("at(\"").nth(1) else { continue };
            let path = format!("{scope}{}", rest.split('"').next().unwrap().replace(":.*", ""));
            for (word, method) in
                [(".get", "get"), (".post(", "post"), (".put(", "put"), (".delete(", "delete")]
            {
                if rest.contains(word) {
                    seen += 1;
                    assert!(!described["paths"][&path][method].is_null(), "{method} {path} is not described");
                }
            }
        }
        assert!(seen > 45, "the test reads the real table: {seen}");
    }
}
