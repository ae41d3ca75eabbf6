//! Where messages arrive in tests: a server that takes POSTs of JSON, and one that speaks SMTP. Both are real listeners and
//! answer as they are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::until::until;

/// A POST that came in.
#[derive(Debug, Clone)]
pub struct Post {
    /// Path and query.
    pub path: String,
    /// Headers by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

/// What is answered from now on.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This status with this body.
    Status(u16, String),
    /// Nothing, until something else is to be answered.
    Hold,
}

/// A server that takes POSTs.
pub struct Inbox {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    reply: watch::Sender<Reply>,
    task: JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inbox {
    /// Starts one that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
        let (reply, replies) = watch::channel(Reply::Status(200, "{}".into()));
        let kept = Arc::clone(&posts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), replies.clone()));
            }
        });
        Self { address, posts, reply, task }
    }

    /// Its address.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Says what is answered from now on, also to those who wait for an answer.
    pub fn reply(&self, reply: Reply) {
        self.reply.send_replace(reply);
    }

    /// What came in.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// The titles of what came in, as a webhook has them.
    pub fn titles(&self) -> Vec<String> {
        self.posts().iter().map(|post| post.body["title"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until so many came in.
    pub async fn until_posts(&self, count: usize) -> Vec<Post> {
        until("the messages arrive", || async { Some(self.posts()).filter(|posts| posts.len() >= count) })
            .await
    }
}

async fn serve(stream: TcpStream, posts: Arc<Mutex<Vec<Post>>>, mut replies: watch::Receiver<Reply>) {
    let mut stream = BufReader::new(stream);
    let Some(post) = read_post(&mut stream).await else { return };
    posts.lock().unwrap().push(post);
    let Ok(reply) =
        replies.wait_for(|reply| matches!(reply, Reply::Status(..))).await.map(|reply| reply.clone())
    else {
        return;
    };
    let Reply::Status(status, body) = reply else { return };
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The other side may have gone.
    let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await;
}

async fn read_post(stream: &mut BufReader<TcpStream>) -> Option<Post> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    assert!(line.starts_with("POST "), "{line}");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Post { path, headers, body: serde_json::from_slice(&body).unwrap() })
}

/// A mail that came in.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Who writes, as the conversation has it.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
    /// Header and text.
    pub data: String,
    /// What was handed over to be let in, in base64.
    pub auth: Option<String>,
}

/// A mail server.
pub struct MailServer {
    /// Where it listens.
    pub address: SocketAddr,
    mails: Arc<Mutex<Vec<Received>>>,
    /// What is answered to a recipient.
    recipient: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MailServer {
    /// Starts one that takes every mail, without encryption.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mails, recipient): (Arc<Mutex<Vec<Received>>>, _) =
            (Arc::default(), Arc::new(Mutex::new("250 2.1.5 Ok".to_owned())));
        let (kept, answer) = (Arc::clone(&mails), Arc::clone(&recipient));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&kept), Arc::clone(&answer)));
            }
        });
        Self { address, mails, recipient, task }
    }

    /// Says what is answered to a recipient from now on.
    pub fn answer_recipients(&self, answer: &str) {
        *self.recipient.lock().unwrap() = answer.to_owned();
    }

    /// What came in.
    pub fn mails(&self) -> Vec<Received> {
        self.mails.lock().unwrap().clone()
    }
}

/// One conversation, as RFC 5321 has it.
async fn converse(stream: TcpStream, mails: Arc<Mutex<Vec<Received>>>, recipient: Arc<Mutex<String>>) {
    let mut stream = BufReader::new(stream);
    let mut mail = Received::default();
    say(&mut stream, "220 mail.example.com ESMTP").await;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        let (verb, rest) = line.split_at(line.find([' ', ':']).unwrap_or(line.len()));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                say(&mut stream, "250-mail.example.com\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN")
                    .await
            }
            "AUTH" => {
                mail.auth = rest.trim().split(' ').nth(1).map(str::to_owned);
                say(&mut stream, "235 2.7.0 Authentication successful").await;
            }
            "MAIL" => {
                mail.from = address(rest);
                say(&mut stream, "250 2.1.0 Ok").await;
            }
            "RCPT" => {
                let answer = recipient.lock().unwrap().clone();
                if answer.starts_with("250") {
                    mail.to.push(address(rest));
                }
                say(&mut stream, &answer).await;
            }
            "DATA" => {
                say(&mut stream, "354 End data with <CR><LF>.<CR><LF>").await;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if line == ".\r\n" {
                        break;
                    }
                    mail.data.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                mails.lock().unwrap().push(std::mem::take(&mut mail));
                say(&mut stream, "250 2.0.0 Ok: queued").await;
            }
            "QUIT" => return say(&mut stream, "221 2.0.0 Bye").await,
            _ => say(&mut stream, "502 5.5.2 Error: command not recognized").await,
        }
    }
}

fn address(rest: &str) -> String {
    let inner = rest.split('<').nth(1).and_then(|rest| rest.split('>').next());
    inner.unwrap_or_default().to_owned()
}

async fn say(stream: &mut BufReader<TcpStream>, words: &str) {
    // The other side may have gone.
    let _ = stream.get_mut().write_all(format!("{words}\r\n").as_bytes()).await;
}
