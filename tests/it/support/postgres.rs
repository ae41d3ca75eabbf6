//! A private PostgreSQL for the test process that asks for one, and databases on it for one test each.
//!
//! It names neither the product's modules nor its crate, so that the tests inside of it include this file too.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, mpsc};

use lightship_migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};

/// Copied for each test. Ordered by a language's rules, as many servers are: nothing may depend on the order of bytes.
const TEMPLATE: &str =
    "CREATE DATABASE migrated TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
/// What is lost with the machine is not missed here.
const HASTE: [&str; 6] = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"];

static SERVER: LazyLock<Result<Server, String>> = LazyLock::new(Server::start);

/// A database that is dropped with this.
pub struct Lease {
    name: String,
    folder: PathBuf,
}

impl Lease {
    /// With the tables of this release, and nothing in them.
    pub fn migrated() -> Self {
        Self::copy_of("migrated")
    }

    /// Without a table.
    pub fn empty() -> Self {
        Self::copy_of("template1")
    }

    fn copy_of(template: &str) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let server = SERVER.as_ref().unwrap_or_else(|why| panic!("no PostgreSQL to test on: {why}"));
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let (done, made) = mpsc::channel();
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template}");
        server.orders.send((statement, Some(done))).expect("its thread lives as long as the process");
        made.recv().expect("an answer to each order").unwrap_or_else(|why| panic!("no database: {why}"));
        Self { name, folder: server.folder.clone() }
    }

    /// What `DATABASE_URL` is to be.
    pub fn url(&self) -> String {
        url(&self.folder, &self.name)
    }

    /// The same by way of a port of this machine, where somebody leads to [`Lease::socket`].
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://lightship@127.0.0.1:{port}/{}", self.name)
    }

    /// Where the server listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Ok(server) = SERVER.as_ref() else { return };
        // Nobody waits: what is not dropped goes with the server.
        let _ = server.orders.send((format!("DROP DATABASE {} WITH (FORCE)", self.name), None));
    }
}

fn url(folder: &Path, name: &str) -> String {
    format!("postgres://lightship@localhost/{name}?host={}", folder.display())
}

/// A statement, and who waits for its outcome.
type Order = (String, Option<mpsc::Sender<Result<(), String>>>);

struct Server {
    folder: PathBuf,
    orders: mpsc::Sender<Order>,
    /// The server lives until this process has ended, however it ends: then its input ends too.
    _keeper: Child,
}

impl Server {
    fn start() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let mut command = Command::new(script);
        command.args(HASTE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().map_err(|error| format!("scripts/postgres: {error}"))?;
        let mut folder = String::new();
        let said = BufReader::new(keeper.stdout.take().expect("it is piped")).read_line(&mut folder);
        if said.is_err() || folder.is_empty() {
            return Err("scripts/postgres did not start one; its reason stands above".into());
        }
        let folder = PathBuf::from(folder.trim());
        let (orders, taken) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let admin = url(&folder, "postgres");
        let migrated = url(&folder, "migrated");
        // A thread of its own: runtimes of tests come and go.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(admin, migrated, &ready, &taken));
        });
        is_ready.recv().map_err(|_| "its first database could not be made".to_owned())?;
        Ok(Self { folder, orders, _keeper: keeper })
    }
}

async fn serve(admin: String, migrated: String, ready: &mpsc::Sender<()>, orders: &mpsc::Receiver<Order>) {
    let admin = connect(admin).await;
    admin.execute_unprepared(TEMPLATE).await.expect("a database that others are copied from");
    let template = connect(migrated).await;
    Migrator::up(&template, None).await.expect("migrations that run");
    template.close().await.expect("nobody may use what is copied");
    let _ = ready.send(());
    while let Ok((statement, asker)) = orders.recv() {
        let outcome = admin.execute_unprepared(&statement).await;
        if let Some(asker) = asker {
            let _ = asker.send(outcome.map(drop).map_err(|error| error.to_string()));
        }
    }
}

async fn connect(url: String) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("a server that was just started")
}
