//! One mail.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::not_sent::NotSent;
use crate::domain::notify::{Encryption, Mail};

/// Most bytes that a mail server may say in one conversation.
const SAID: usize = 256 << 10;

/// Sends a mail.
pub(super) async fn send(mail: &Mail) -> Result<(), NotSent> {
    let message = message(mail).map_err(NotSent::because)?;
    let mut connection = connect(mail).await.map_err(NotSent::because)?;
    if let Some((name, password)) = &mail.login {
        let login = Credentials::new(name.clone(), password.clone());
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        connection
            .auth(&mechanisms, &login)
            .await
            .map_err(|error| NotSent::because(format!("it did not let us in: {}", words(&error))))?;
    }
    let sent = connection.send(message.envelope(), &message.formatted()).await;
    let sent = sent.map(drop).map_err(|error| NotSent {
        is_refused: error.status().is_some_and(|code| is_about_the_mail(u16::from(code))),
        ..NotSent::because(format!("it did not take the mail: {}", words(&error)))
    });
    // What is taken is taken, whatever it says to the good-bye.
    let _ = connection.quit().await;
    sent
}

/// True if this code is about what is in the mail (too large, or taken for spam), and not about who writes to whom
/// (RFC 5321, 4.2.2).
fn is_about_the_mail(code: u16) -> bool {
    matches!(code, 552 | 554)
}

fn message(mail: &Mail) -> Result<Message, String> {
    let mailbox = |address: &str| -> Result<Mailbox, String> {
        address.parse().map_err(|error| format!("`{address}` cannot be written to: {error}"))
    };
    let mut builder = Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(mail.subject.clone())
        .message_id(Some(mail.message_id.clone()))
        .date(SystemTime::from(mail.at));
    for address in &mail.to {
        builder = builder.to(mailbox(address)?);
    }
    let body = builder.header(ContentType::TEXT_PLAIN).body(mail.text.clone());
    body.map_err(|error| format!("the mail cannot be written: {error}"))
}

async fn connect(mail: &Mail) -> Result<AsyncSmtpConnection, String> {
    let hello = ClientId::default();
    let tls = || TlsParameters::new(mail.host.clone()).map_err(|error| words(&error));
    let fail = |error: lettre::transport::smtp::Error| format!("it cannot be spoken to: {}", words(&error));
    if mail.encryption == Encryption::Tls {
        let place = (mail.host.as_str(), mail.port);
        return AsyncSmtpConnection::connect_tokio1(place, None, &hello, Some(tls()?), None)
            .await
            .map_err(fail);
    }
    let stream = TcpStream::connect((mail.host.as_str(), mail.port)).await;
    let stream = stream.map_err(|error| format!("it cannot be reached: {error}"))?;
    let stream = Box::new(Limited { stream, left: SAID });
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(fail)?;
    if mail.encryption == Encryption::Starttls {
        if !connection.can_starttls() {
            return Err("it offers no encryption, and `encryption` is `starttls`".into());
        }
        connection
            .starttls(tls()?, &hello)
            .await
            .map_err(|error| format!("the encrypted way could not be opened: {}", words(&error)))?;
    }
    Ok(connection)
}

/// An error with its causes: the outermost says little.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words.chars().take(300).collect()
}

/// A stream that ends after so many bytes: a server has no business to say more.
#[derive(Debug)]
struct Limited {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("it said far more than a mail server says")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        self.left = self.left.saturating_sub(read);
        polled
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Limited {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
