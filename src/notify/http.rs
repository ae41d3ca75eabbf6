//! One POST.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use url::Url;

use super::not_sent::NotSent;
use crate::domain::notify::{Call, Channel, Secrets, is_about_the_message, refusal, was_taken};
use crate::http_client::{SetupError, build, builder, is_loopback, why};

/// Most bytes of an answer that are read: what is shown of it is a sentence.
const ANSWER: usize = 8 << 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const AGENT: &str = concat!("lightship/", env!("CARGO_PKG_VERSION"));

/// Clients for other machines and for this one, which no proxy leads to.
#[derive(Clone)]
pub(super) struct HttpSender {
    far: Client,
    near: Client,
}

impl HttpSender {
    pub(super) fn new() -> Result<Self, SetupError> {
        let client = |example: &str| {
            let target = Url::parse(example).expect("an example is an address");
            // Few messages, far apart: no connection is kept.
            let builder =
                builder(&target).connect_timeout(CONNECT_LIMIT).pool_max_idle_per_host(0).user_agent(AGENT);
            build(builder)
        };
        Ok(Self { far: client("https://example.com")?, near: client("http://127.0.0.1")? })
    }

    pub(super) async fn post(&self, channel: &Channel, secrets: &Secrets, call: Call) -> Result<(), NotSent> {
        let client = if is_loopback(&call.url) { &self.near } else { &self.far };
        let mut request = client.post(call.url).json(&call.body);
        for (name, value) in call.headers {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| NotSent::because(format!("no header can carry its `{name}`; set it again")))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let answer = request.send().await;
        // The client's own words name the address, which opens the target with some; these name causes only.
        let answer = answer.map_err(|error| NotSent::because(secrets.hide_in(&why(&error))))?;
        let status = answer.status().as_u16();
        if was_taken(status) {
            return Ok(());
        }
        let wait = wait(&answer);
        let body = beginning_of(answer).await;
        let reason = refusal(channel, secrets, status, &body);
        Err(NotSent { reason, wait, is_refused: is_about_the_message(status) })
    }
}

fn wait(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// What came of the body, up to the limit; one that breaks off says what came before.
async fn beginning_of(mut answer: Response) -> String {
    let mut read = BytesMut::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = ANSWER.saturating_sub(read.len());
        read.extend(chunk.iter().take(room));
        if read.len() >= ANSWER {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}
