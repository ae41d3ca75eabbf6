//! What heartbeats are compared with: a handler of the same framework that answers the same and does nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use actix_web::http::header::ContentType;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};

/// Makes this program the bare handler.
pub const FLAG: &str = "--bare";

/// What the master answers to a heartbeat; `heartbeats` checks that it does.
pub const ANSWER: &str = r#"{"message":"Event received and processed.","status":"success"}"#;

/// Serves until standard input ends, with as many workers as the master has.
pub fn serve() -> ExitCode {
    actix_web::rt::System::new().block_on(async {
        let app = || App::new().route("/api/v2/agents/{id}/events", web::post().to(answer));
        let server = HttpServer::new(app).workers(2).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        let mut out = std::io::stdout();
        writeln!(out, "{address}").unwrap();
        out.flush().unwrap();
        std::thread::spawn(|| {
            // Ends with the measuring process, however that ends.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
        server.run().await.unwrap();
    });
    ExitCode::SUCCESS
}

/// Reads the body, as any handler has to, and answers.
async fn answer(body: Bytes) -> HttpResponse {
    drop(body);
    HttpResponse::Accepted().insert_header(ContentType::json()).body(ANSWER)
}

/// The bare handler as a process of its own; dropping it ends it.
pub struct Bare {
    child: Child,
    /// Where it listens.
    pub url: String,
}

impl Bare {
    /// Starts it.
    pub fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: format!("http://{}", line.trim()) }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
