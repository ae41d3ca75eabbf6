//! Sends messages to where people read them, by HTTP and by SMTP. Each attempt has a limit of time, and each answer one of
//! size. Redirects are not followed: a target leads where a person set it, and nowhere else.

mod http;
mod mail;
mod not_sent;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::notify::{Channel, Message, Outgoing, Secrets, Target, outgoing};
use crate::http_client::SetupError;
use crate::io::Io;
use http::HttpSender;

pub use not_sent::NotSent;

/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Sends messages; is [`Sender`].
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Sends one, and returns once it is known to have been taken, or not.
    async fn send(&self, target: &Target, secrets: &Secrets, message: &Message) -> Result<(), NotSent>;
}

/// Sends messages over the network.
pub struct Sender {
    http: HttpSender,
    io: Io,
}

impl Sender {
    /// Prepares one; nothing is sent yet.
    pub fn new(io: Io) -> Result<Self, SetupError> {
        Ok(Self { http: HttpSender::new()?, io })
    }
}

#[async_trait]
impl Messenger for Sender {
    async fn send(&self, target: &Target, secrets: &Secrets, message: &Message) -> Result<(), NotSent> {
        let sent = outgoing(&target.channel, secrets, message).map_err(NotSent::because)?;
        let (http, channel, secrets) = (self.http.clone(), target.channel.clone(), secrets.clone());
        let attempt = async move { attempt(&http, &channel, &secrets, sent).await };
        self.io.run(attempt).await
    }
}

async fn attempt(
    http: &HttpSender,
    channel: &Channel,
    secrets: &Secrets,
    sent: Outgoing,
) -> Result<(), NotSent> {
    let attempt = async {
        match sent {
            Outgoing::Call(call) => http.post(channel, secrets, *call).await,
            Outgoing::Mail(mail) => {
                let sent = mail::send(&mail).await;
                sent.map_err(|failed| NotSent { reason: secrets.hide_in(&failed.reason), ..failed })
            }
        }
    };
    let too_long = || NotSent::because(format!("it did not answer within {} s", LIMIT.as_secs()));
    tokio::time::timeout(LIMIT, attempt).await.unwrap_or_else(|_| Err(too_long()))
}
