//! What a person does to an agent.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse};

use super::agent::{self, Fields};
use super::confirm::{Confirmation, MOVE, Question, REDEPLOY, REMOVE, REVOKE_KEY};
use super::posted::{Nothing, Posted, Refusal};
use super::{Allowed, SignedIn, go_to};
use crate::actors::master::{Master, MasterError};
use crate::domain::id::AgentId;
use crate::web::api::agents::{agent_id, missing};
use crate::web::auth::{Admin, Needs, Operator};
use crate::web::body::Patterns;
use crate::web::error::ApiError;
use crate::web::route::Caller;
use crate::web::state::{WebState, state};

type Done = Result<HttpResponse, ApiError>;

/// A person who may do what `N` may to the agent that the path names, and where it leads.
pub struct Act<N> {
    person: SignedIn,
    state: WebState,
    agent: AgentId,
    here: String,
    next: String,
    needs: PhantomData<N>,
}

impl<N> Caller for Act<N> {}

impl<N: Needs> FromRequest for Act<N> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (person, req) = (Allowed::<N>::from_request(req, payload), req.clone());
        Box::pin(async move {
            let Allowed(person, needs) = person.await?;
            let id = req.match_info().query("id");
            let here = format!("/agents/{id}");
            let (agent, state) = (agent_id(id)?, state(&req).clone());
            Ok(Self { person, state, agent, next: here.clone(), here, needs })
        })
    }
}

impl<N> Act<N> {
    /// Does it; if it is refused, the agent's page says why and keeps what was written.
    async fn carry_out(
        self,
        written: Fields,
        what: impl AsyncFnOnce(&Master, &AgentId, &str) -> Result<(), MasterError>,
    ) -> Done {
        match what(self.state.master(), &self.agent, &self.person.name).await {
            Ok(()) => Ok(go_to(&self.next)),
            Err(error) => {
                agent::show_refused(&self.person, &self.state, &self.agent, Refusal::of(error)?, written)
                    .await
            }
        }
    }

    /// Does it once the person has said yes.
    async fn after_yes(
        self,
        question: &Question,
        answer: &Confirmation,
        what: impl AsyncFnOnce(&Master, &AgentId, &str) -> Result<(), MasterError>,
    ) -> Done {
        if !answer.is_given() {
            return question.ask(&self.person, &self.here, &self.here);
        }
        self.carry_out(Fields::default(), what).await
    }
}

/// `POST /agents/{id}/enroll`.
#[utoipa::path(post, path = "/agents/{id}/enroll", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 409), (status = 502)), security(("session" = [])))]
pub async fn enroll(act: Act<Operator>, form: Posted<Fields>) -> Done {
    let name = form.0.tunnel_name.clone().ok_or_else(|| missing("tunnel_name"))?;
    act.carry_out(form.0, async |master, agent, by| master.enroll(agent, name.trim(), by).await.map(drop))
        .await
}

/// `POST /agents/{id}/approve`: says yes to it without a tunnel.
#[utoipa::path(post, path = "/agents/{id}/approve", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 409)), security(("session" = [])))]
pub async fn approve(act: Act<Operator>, _: Posted<Nothing>) -> Done {
    act.carry_out(Fields::default(), async |master, agent, by| master.approve(agent, by).await).await
}

/// `POST /agents/{id}/scan`: has it look at its host now.
#[utoipa::path(post, path = "/agents/{id}/scan", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 409)), security(("session" = [])))]
pub async fn scan(act: Act<Operator>, _: Posted<Nothing>) -> Done {
    act.carry_out(Fields::default(), async |master, agent, by| master.scan_now(agent, by).await.map(drop))
        .await
}

/// `POST /agents/{id}/connector-log`: asks for the last lines that its connector wrote.
#[utoipa::path(post, path = "/agents/{id}/connector-log", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 409)), security(("session" = [])))]
pub async fn connector_log(act: Act<Operator>, _: Posted<Nothing>) -> Done {
    act.carry_out(Fields::default(), async |master, agent, by| {
        master.ask_for_connector_log(agent, by).await.map(drop)
    })
    .await
}

/// `POST /agents/{id}/rename`.
#[utoipa::path(post, path = "/agents/{id}/rename", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 400), (status = 403)), security(("session" = [])))]
pub async fn rename(act: Act<Operator>, form: Posted<Fields>) -> Done {
    let name = form.0.display_name.clone().ok_or_else(|| missing("display_name"))?;
    act.carry_out(form.0, async |master, agent, by| master.rename(agent, name.trim(), by).await).await
}

/// `POST /agents/{id}/limit`: the hostnames that it may publish, with commas between them; none: any.
#[utoipa::path(post, path = "/agents/{id}/limit", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 400), (status = 403)), security(("session" = [])))]
pub async fn limit(act: Act<Admin>, form: Posted<Fields>) -> Done {
    // Left out by mistake it must not lift a limit: an empty text does.
    let text = form.0.hostname_patterns.clone().ok_or_else(|| missing("hostname_patterns"))?;
    let patterns = Patterns::Text(text).list();
    act.carry_out(form.0, async |master, agent, by| master.limit(agent, patterns, by).await).await
}

/// `POST /agents/{id}/move`: moves its names to its new tunnel, although no connector was seen there.
#[utoipa::path(post, path = "/agents/{id}/move", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn move_names(act: Act<Operator>, form: Posted<Confirmation>) -> Done {
    act.after_yes(&MOVE, &form.0, async |master, agent, by| master.move_names(agent, by).await).await
}

/// `POST /agents/{id}/seat`: allows the key that the agent shares one seat more.
#[utoipa::path(post, path = "/agents/{id}/seat", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn seat(act: Act<Admin>, _: Posted<Nothing>) -> Done {
    act.carry_out(Fields::default(), async |master, agent, by| master.allow_seat(agent, by).await).await
}

/// `POST /agents/{id}/redeploy`: replaces the connector.
#[utoipa::path(post, path = "/agents/{id}/redeploy", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn redeploy(act: Act<Operator>, form: Posted<Confirmation>) -> Done {
    act.after_yes(&REDEPLOY, &form.0, async |master, agent, by| master.redeploy(agent, by).await.map(drop))
        .await
}

/// `POST /agents/{id}/revoke`: the agent is not heard until it has a new key.
#[utoipa::path(post, path = "/agents/{id}/revoke", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn revoke(act: Act<Admin>, form: Posted<Confirmation>) -> Done {
    act.after_yes(&REVOKE_KEY, &form.0, async |master, agent, by| master.revoke(agent, by).await).await
}

/// `POST /agents/{id}/remove`: stops the tunnel, withdraws the routes, revokes the key.
#[utoipa::path(post, path = "/agents/{id}/remove", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403)), security(("session" = [])))]
pub async fn remove(act: Act<Admin>, form: Posted<Confirmation>) -> Done {
    let act = Act { next: "/agents".into(), ..act };
    act.after_yes(&REMOVE, &form.0, async |master, agent, by| master.remove(agent, by).await.map(drop)).await
}
