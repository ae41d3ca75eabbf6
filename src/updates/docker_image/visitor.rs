//! Makes the request that a visitor of a published container makes, at the service's own address, as the connector does.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use reqwest::header::{HOST, USER_AGENT};
use serde_json::Value;
use url::Url;

use super::basis::this_container;
use crate::docker::{DockerError, EngineContainers};
use crate::domain::update::swap::{Answer, Here, Visit, Visited, lender_of, visits};
use crate::http_client::{build, builder, why};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Most routes of a container that are asked; each may take its time.
const MOST: usize = 8;

/// Asks containers what visitors ask of them.
#[derive(Clone)]
pub(super) struct Visitor {
    engine: EngineContainers,
    prefix: Option<String>,
    here: Here,
}

impl Visitor {
    /// Takes the prefix of labels that counts beside the known ones, if any. What is published by hand, and not by labels, would
    /// come with it.
    pub(super) fn new(engine: EngineContainers, prefix: Option<String>) -> Self {
        let is_local = |host: &str| {
            Url::parse(&format!("http://{host}")).is_ok_and(|url| crate::http_client::is_loopback(&url))
        };
        let here = match (this_container(), engine.host()) {
            // Its proxy, if that is how the Engine is reached, is a neighbour on the same host.
            (Some(_), _) => Here::Container,
            (None, Some(host)) if !is_local(&host) => Here::Elsewhere,
            (None, _) => Here::Host,
        };
        Self { engine, prefix, here }
    }

    /// What visitors ask of a container; nothing if it is not published.
    pub(super) async fn visits(&self, container: &Value) -> Result<Vec<Visit>, DockerError> {
        let lender = match lender_of(container) {
            Some(lender) => self.engine.inspect(lender).await?,
            None => None,
        };
        let mut visits = visits(container, lender.as_ref(), self.prefix.as_deref(), self.here);
        visits.truncate(MOST);
        Ok(visits)
    }

    /// True if a route leads to a container of a network of its own that can be asked from here.
    pub(super) fn is_published(&self, container: &Value) -> bool {
        visits(container, None, self.prefix.as_deref(), self.here).iter().any(|visit| visit.at.is_ok())
    }

    /// What a container answers before it is replaced.
    pub(super) async fn before(&self, container: &Value) -> Result<Vec<Visited>, DockerError> {
        let visits = self.visits(container).await?;
        // One by one, those that nobody answers would take their time one by one.
        let answers = join_all(visits.iter().map(ask)).await;
        let visited = visits.into_iter().zip(answers).map(|(visit, before)| Visited {
            route: visit.route,
            service: visit.service,
            before,
            after: None,
        });
        Ok(visited.collect())
    }
}

/// Makes one request. Of the answer nothing but its status is read. Certificates are not checked: who has one that a
/// connector does not take had it before.
pub(super) async fn ask(visit: &Visit) -> Answer {
    let at = match &visit.at {
        Ok(at) => *at,
        Err(reason) => return Answer::Nothing(reason.clone()),
    };
    let request = match request(visit, at) {
        Ok(request) => request,
        Err(reason) => return Answer::Nothing(reason),
    };
    match request.send().await {
        Ok(answer) => Answer::Status(answer.status().as_u16()),
        Err(error) => Answer::Nothing(why(&error)),
    }
}

fn request(visit: &Visit, at: SocketAddr) -> Result<reqwest::RequestBuilder, String> {
    // The name in the address is the one that TLS asks for; it leads to the container whatever it is.
    let address = match &visit.server_name {
        Some(name) => format!("https://{name}:{}", at.port()),
        None => format!("http://{at}"),
    };
    let mut url = Url::parse(&address).map_err(|error| format!("`{}`: {error}", visit.service))?;
    url.set_path(&visit.path);
    let mut client =
        builder(&url).no_proxy().http1_only().tls_danger_accept_invalid_certs(true).timeout(LIMIT);
    if let Some(name) = &visit.server_name {
        client = client.resolve(name, at);
    }
    let client: Client = build(client).map_err(|error| error.to_string())?;
    let request = client.get(url).header(HOST, &visit.host).header(USER_AGENT, "lightship");
    // So that nobody is sent on to where he is already.
    Ok(request.header("x-forwarded-proto", "https"))
}
