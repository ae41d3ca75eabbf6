//! `lightship host-helper`: changes this host as root for an agent that is not root.

use std::fs::Permissions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::signal::unix::{SignalKind, signal};

use super::common::Common;
use super::host_run::{NEEDS_ROOT, hands_of_root};
use super::scan::images;
use super::values::check_private;
use super::{output, sources};
use crate::clock::Clock;
use crate::config::{Role, Settings};
use crate::domain::update::Kind;
use crate::io::{Io, IoRuntime};
use crate::state_dir::AgentIs;
use crate::telemetry;
use crate::updates::{Allowed, HandsParts, OwnHands, scanners, serve_helper};

/// The first descriptor that is handed over by who listens for us.
const FIRST_HANDED: i32 = 3;

/// Runs the helper until it is asked to end.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("lightship: the helper is there to do what needs root: run it as a service of root");
        return Ok(ExitCode::from(NEEDS_ROOT));
    }
    let settings = sources::load(common, Role::Client)?.settings;
    telemetry::start_logging(&settings.log, sources::time_zone().as_deref());
    let dir = common.state_dir.clone().unwrap_or_else(|| settings.updates.helper_state_dir.clone());
    make_private(&dir)?;
    let user = user_id(&settings.updates.helper_user, "/etc/passwd");
    if user.is_none() {
        tracing::warn!(
            "there is no user `{}` (`updates.helper_user`): only root may ask the helper",
            settings.updates.helper_user
        );
    }
    let runtime = IoRuntime::start()?;
    let hands = Arc::new(hands(&settings, &dir, &runtime.io())?);
    let listener = listener(&settings)?;
    listener.set_nonblocking(true)?;
    output::line(&format!("helper of the agent, state in {}", dir.display()))?;
    runtime.io().handle().block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // What a package manager does goes on: its run is gone on with after the next start.
        tokio::select! {
            () = serve_helper(listener, Allowed { user }, hands) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn hands(settings: &Settings, dir: &Path, io: &Io) -> anyhow::Result<OwnHands> {
    let clock = Clock::system();
    let refreshing = scanners(images(settings, dir, &clock, io.clone())?, dir)
        .into_iter()
        .filter(|scanner| matches!(scanner.kind(), Kind::Apt | Kind::Dnf))
        .collect();
    let parts = hands_of_root(settings, dir, io)?;
    Ok(OwnHands::new(HandsParts { refreshing, agent_is: AgentIs::Told, ..parts }))
}

/// Its records decide what root does: nobody else may write them.
fn make_private(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the state directory `{}`", dir.display()))?;
    check_private(dir)
}

/// The socket that was handed over, or one of our own.
fn listener(settings: &Settings) -> anyhow::Result<UnixListener> {
    if let Some(handed) = handed()? {
        return Ok(handed);
    }
    let path = &settings.updates.helper_socket;
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .create(parent)
            .with_context(|| format!("cannot make `{}`", parent.display()))?;
        // What this process makes is for itself only; who may ask must get there.
        std::fs::set_permissions(parent, Permissions::from_mode(0o755))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another helper listens at `{}`", path.display());
    }
    if std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let socket =
        UnixListener::bind(path).with_context(|| format!("cannot listen at `{}`", path.display()))?;
    let group = &settings.updates.helper_group;
    if !group.is_empty() {
        let id = user_id(group, "/etc/group")
            .with_context(|| format!("there is no group `{group}` (`updates.helper_group`)"))?;
        std::os::unix::fs::chown(path, None, Some(id))?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(socket)
}

/// The socket that a service manager listens at for us, if it does.
fn handed() -> anyhow::Result<Option<UnixListener>> {
    let (pid, count) = sources::handed_sockets();
    let own = getpid();
    if pid != Some(own.as_raw_nonzero().get()) || count == 0 {
        return Ok(None);
    }
    if count != 1 {
        bail!("{count} sockets were handed over, and the helper takes one");
    }
    let process = pidfd_open(own, PidfdFlags::empty())?;
    let socket: OwnedFd = pidfd_getfd(&process, FIRST_HANDED, PidfdGetfdFlags::empty())
        .context("the socket that was handed over cannot be used")?;
    let is_unix = rustix::net::sockopt::socket_domain(&socket)? == rustix::net::AddressFamily::UNIX;
    if !is_unix || !rustix::net::sockopt::socket_acceptconn(&socket)? {
        bail!("what was handed over is no socket of the file system that is listened at");
    }
    Ok(Some(UnixListener::from(socket)))
}

/// Returns the number of a user or group: itself, or what stands in the file of names.
fn user_id(name: &str, file: &str) -> Option<u32> {
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    let text = std::fs::read_to_string(file).ok()?;
    number_of(name, &text)
}

fn number_of(name: &str, text: &str) -> Option<u32> {
    let fields = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    text.lines().find_map(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name_or_is_a_number() {
        let text = "root:x:0:0::/root:/bin/sh\nlightship:x:990:980::/:/bin/false\nlight:x:7:7::/:\n";
        assert_eq!(number_of("lightship", text), Some(990));
        assert_eq!(number_of("light", text), Some(7));
        assert_eq!(number_of("lights", text), None);
        assert_eq!(user_id("1234", "/nonexistent"), Some(1234));
        assert_eq!(user_id("nobody-here", "/nonexistent"), None);
    }
}
