//! The only place that starts programs.
//!
//! A program gets its arguments as a list, an environment that makes it speak English, nothing on standard input unless it
//! is given, a group of its own, a time limit and limits on what it may print. It ends with whoever waits for it; who ends this process
//! waits for [`until_all_ended`] before.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// What programs say is read by programs: no translation, no questions, no colours.
const FIXED: [(&str, &str); 4] = [
    ("LC_ALL", "C.UTF-8"),
    // Of GNU's programs: it beats `LC_ALL` unless that is C itself.
    ("LANGUAGE", ""),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("TERM", "dumb"),
];
/// What is handed on of our own environment: where programs are, how they reach the network, where APT's files are.
const HANDED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "APT_CONFIG",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];
/// Where programs are, if our own environment does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long what a program left behind may hold its standard output open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long those that were killed may take to be gone; the kernel may still be at work for one of them.
const LAST_BREATH: Duration = Duration::from_secs(3);
/// Longest line that is handed on whole; what is behind it is left out.
const MAX_LINE: usize = 64 * 1024;

/// Most that fits into any pipe.
const MAX_INPUT: usize = 4096;
/// How much is read of a pipe at once: all that one holds.
const PIECE: usize = 64 * 1024;

/// Groups that were started and may still be there.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A program to be run.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    input: Option<String>,
    time_limit: Duration,
    stdout_limit: usize,
    stderr_limit: usize,
    is_for_all: bool,
}

/// How a program ended. Its exit code alone says little; what it printed is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// The beginning of what it said on standard error.
    pub stderr: String,
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not installed.
    #[error("`{0}` is not installed")]
    Missing(String),
    /// It could not be started.
    #[error("`{name}` could not be started")]
    NotStarted {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time, and was killed.
    #[error("`{name}` did not end within {} s and was stopped", limit.as_secs())]
    Late {
        /// Which.
        name: String,
        /// How long it had.
        limit: Duration,
    },
    /// It printed more than is read, and was killed.
    #[error("`{name}` printed more than {} KiB and was stopped", limit / 1024)]
    TooMuch {
        /// Which.
        name: String,
        /// Most bytes.
        limit: usize,
    },
}

impl Program {
    /// A program by its name, to be found where programs are, or by its path. It has a minute and may print 8 MiB.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
            input: None,
            time_limit: Duration::from_secs(60),
            stdout_limit: 8 * 1024 * 1024,
            stderr_limit: 64 * 1024,
            is_for_all: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets it run in this folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Gives it something to read on standard input: a page at most, so that writing it waits for nobody.
    #[must_use]
    pub fn input(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        debug_assert!(text.len() <= MAX_INPUT, "more than a pipe holds");
        self.input = Some(text);
        self
    }

    /// Changes how long it may take.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Changes how many bytes it may print on standard output.
    #[must_use]
    pub fn stdout_limit(mut self, bytes: usize) -> Self {
        self.stdout_limit = bytes;
        self
    }

    /// Lets every user of the host read the files it makes: they are the host's, not ours.
    #[must_use]
    pub fn for_all(mut self) -> Self {
        self.is_for_all = true;
        self
    }

    /// Runs it to its end.
    pub async fn run(self) -> Result<Ended, ProcessError> {
        let mut running = self.start()?;
        let whole = async {
            let mut stdout = Vec::new();
            let read = async |pipe: &mut ChildStdout, stdout: &mut Vec<u8>| {
                let most = self.stdout_limit as u64 + 1;
                let _ = pipe.take(most).read_to_end(stdout).await;
                if stdout.len() > self.stdout_limit { Err(TooMuch) } else { Ok(()) }
            };
            let mut pipe = running.stdout.take().expect("it was asked for");
            let ended = running.end(read(&mut pipe, &mut stdout)).await;
            (ended, stdout)
        };
        let (ended, stdout) = timeout(self.time_limit, whole).await.map_err(|_| self.late())?;
        let (code, stderr) = ended.map_err(|TooMuch| self.too_much())?;
        let stdout = String::from_utf8(stdout)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Ended { code, stdout, stderr })
    }

    /// Runs it to its end and hands on every line as it comes, so that nothing is kept of much. The result's standard
    /// output is empty. There is no limit on all of it but the time.
    pub async fn run_lines(self, mut line: impl FnMut(&str)) -> Result<Ended, ProcessError> {
        let mut running = self.start()?;
        let whole = async {
            let pipe = running.stdout.take().expect("it was asked for");
            let read = async {
                each_line(pipe, &mut line).await;
                Ok(())
            };
            running.end(read).await
        };
        let ended = timeout(self.time_limit, whole).await.map_err(|_| self.late())?;
        let (code, stderr) = ended.map_err(|TooMuch| self.too_much())?;
        Ok(Ended { code, stdout: String::new(), stderr })
    }

    /// Runs it to its end, whatever becomes of this process: it is not killed with it, and neither of its outputs is a
    /// pipe that could break. What it prints is added to the file `log`; what it writes to descriptor 3 to the file
    /// `progress`. There is no time limit. Returns its exit code; none if a signal ended it.
    pub async fn run_apart(self, log: &Path, progress: &Path) -> Result<Option<i32>, ProcessError> {
        let not_started = |source| ProcessError::NotStarted { name: self.name.clone(), source };
        let path = find(&self.name).ok_or_else(|| ProcessError::Missing(self.name.clone()))?;
        let open = |path: &Path| {
            std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(not_started)
        };
        let (output, errors) = (open(log)?, open(log)?);
        #[expect(clippy::disallowed_methods, reason = "the one place that may")]
        let mut command = Command::new("/bin/sh");
        // A descriptor beyond the first three can only be given by the process itself.
        command.args(["-c", "umask 022; exec 3>>\"$1\"; shift; exec \"$@\"", "sh"]).arg(progress).arg(&path);
        self.set_up(&mut command);
        command.stdout(output).stderr(errors);
        let mut child = command.spawn().map_err(not_started)?;
        Ok(child.wait().await.map_err(not_started)?.code())
    }

    /// Its arguments and environment; nothing on standard input, a group of its own.
    fn set_up(&self, command: &mut Command) {
        command.args(&self.args).env_clear().env("PATH", USUAL_PATH);
        for name in HANDED_ON {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(FIXED).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
    }

    fn start(&self) -> Result<Running, ProcessError> {
        let path = find(&self.name).ok_or_else(|| ProcessError::Missing(self.name.clone()))?;
        #[expect(clippy::disallowed_methods, reason = "the one place that may")]
        let mut command = if self.is_for_all {
            // Ours is closed to others. A process cannot be given another one but by itself.
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "umask 022; exec \"$@\"", "sh"]).arg(&path);
            shell
        } else {
            Command::new(&path)
        };
        self.set_up(&mut command);
        let failed = |source| ProcessError::NotStarted { name: self.name.clone(), source };
        command.stdin(self.stdin().map_err(failed)?).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        GROUPS.lock().extend(group);
        let stdout = child.stdout.take();
        Ok(Running { child, group, stdout, stderr_limit: self.stderr_limit })
    }

    fn stdin(&self) -> std::io::Result<Stdio> {
        let Some(text) = &self.input else { return Ok(Stdio::null()) };
        let (reader, mut writer) = std::io::pipe()?;
        writer.write_all(text.as_bytes())?;
        Ok(reader.into())
    }

    fn late(&self) -> ProcessError {
        ProcessError::Late { name: self.name.clone(), limit: self.time_limit }
    }

    fn too_much(&self) -> ProcessError {
        ProcessError::TooMuch { name: self.name.clone(), limit: self.stdout_limit }
    }
}

/// It printed more than is read.
struct TooMuch;

/// A program that runs. Dropping it kills it and all that it started.
struct Running {
    child: Child,
    group: Option<Pid>,
    stdout: Option<ChildStdout>,
    stderr_limit: usize,
}

impl Running {
    /// Waits for its end while `read` takes what it prints.
    async fn end(
        &mut self,
        read: impl Future<Output = Result<(), TooMuch>>,
    ) -> Result<(Option<i32>, String), TooMuch> {
        let stderr = self.child.stderr.take().expect("it was asked for");
        let limit = self.stderr_limit;
        let mut said = Vec::new();
        {
            let errors = async {
                beginning(stderr, limit, &mut said).await;
                Ok(())
            };
            let both = async { tokio::try_join!(read, errors) };
            tokio::pin!(both);
            tokio::select! {
                biased;
                read = &mut both => read.map(drop)?,
                // What it left behind holds the pipes; it has said what it had to say.
                _ = self.child.wait() => timeout(LAST_WORDS, both).await.map_or(Ok(()), |read| read.map(drop))?,
            }
        }
        let code = self.child.wait().await.ok().and_then(|status| status.code());
        Ok((code, String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Gone already, as a rule.
            let _ = kill_process_group(group, Signal::KILL);
            forget_gone();
        }
    }
}

/// Waits until every program is gone that was started here, with all that it started. Those that nobody waits for any more
/// were killed, and need a moment. One that does not go is left behind after a few seconds.
pub async fn until_all_ended() {
    let is_over = async {
        while !forget_gone() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = timeout(LAST_BREATH, is_over).await;
}

/// True if no group is there any more.
fn forget_gone() -> bool {
    let mut groups = GROUPS.lock();
    groups.retain(|group| test_kill_process_group(*group).is_ok());
    groups.is_empty()
}

/// Keeps the first bytes and reads the rest away, so that nobody waits for a full pipe.
async fn beginning(mut pipe: impl AsyncRead + Unpin, limit: usize, kept: &mut Vec<u8>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let room = limit.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..read.min(room)]);
    }
}

async fn each_line(pipe: impl AsyncRead + Unpin, line: &mut impl FnMut(&str)) {
    let mut reader = BufReader::with_capacity(PIECE, pipe);
    let mut bytes = Vec::new();
    while let Ok(read @ 1..) = (&mut reader).take(MAX_LINE as u64).read_until(b'\n', &mut bytes).await {
        let is_whole = bytes.last() == Some(&b'\n');
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
        if !is_whole && read == MAX_LINE && skip_line(&mut reader).await.is_err() {
            return;
        }
    }
}

async fn skip_line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<()> {
    loop {
        let piece = reader.fill_buf().await?;
        let (used, is_end) = match piece.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (piece.len(), piece.is_empty()),
        };
        reader.consume(used);
        if is_end {
            return Ok(());
        }
    }
}

/// Returns where a program is, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return is_program(Path::new(name)).then(|| name.into());
    }
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| USUAL_PATH.into());
    std::env::split_paths(&path)
        // A relative folder means another one wherever we stand.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

/// Returns where this very program is, for others to start it. Once an upgrade replaced it that is the new one.
pub fn own_program() -> std::io::Result<PathBuf> {
    Ok(as_it_is_now(std::env::current_exe()?))
}

/// What the kernel says of a program whose file was replaced leads nowhere.
fn as_it_is_now(program: PathBuf) -> PathBuf {
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    replaced.filter(|path| !is_program(&program) && is_program(path)).unwrap_or(program)
}

fn is_program(path: &Path) -> bool {
    match path.metadata() {
        Ok(found) => found.is_file() && found.permissions().mode() & 0o111 != 0,
        Err(error) => {
            debug_assert!(error.kind() != ErrorKind::InvalidInput, "no program's name holds a NUL");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("sh").args(["-c", script])
    }

    /// True if no process has this id; its parent may have to take note of its end first.
    fn is_gone(pid: &str) -> bool {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        text.is_empty() || text.contains("State:\tZ") || text.contains("State:\tX")
    }

    async fn until_gone(pid: &str) {
        for _ in 0..2_000 {
            if is_gone(pid) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("process {pid} lives on");
    }

    async fn until_written(file: &Path) -> String {
        for _ in 0..2_000 {
            if let Ok(text) = fs::read_to_string(file)
                && text.ends_with('\n')
            {
                return text.trim().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("`{}` was never written", file.display());
    }

    #[test]
    fn a_program_that_was_replaced_is_the_new_one_at_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (place, gone) = (dir.path().join("p"), dir.path().join("p (deleted)"));
        let put = |path: &Path| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        assert_eq!(as_it_is_now(gone.clone()), gone, "nothing is in its place");
        put(&place);
        assert_eq!(as_it_is_now(gone.clone()), place);
        assert_eq!(as_it_is_now(place.clone()), place);
        put(&gone);
        assert_eq!(as_it_is_now(gone.clone()), gone, "it is really called so");
    }

    #[tokio::test]
    async fn code_and_both_outputs_are_kept_apart() {
        let ended = shell("echo out; echo err >&2; exit 100").run().await.unwrap();
        assert_eq!(ended, Ended { code: Some(100), stdout: "out\n".into(), stderr: "err\n".into() });
        assert_eq!(shell("kill -9 $$").run().await.unwrap().code, None);
    }

    #[tokio::test]
    async fn the_environment_is_the_fixed_one_and_standard_input_is_empty() {
        let script = "echo $LC_ALL/$LANGUAGE/$DEBIAN_FRONTEND/$TERM/$CARGO_MANIFEST_DIR/$OURS; cat; \
                      ps -o pgid= -p $$ | tr -d ' '; echo $$";
        let ended = shell(script).env("OURS", "yes").run().await.unwrap();
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines[0], "C.UTF-8//noninteractive/dumb//yes");
        assert_eq!(lines[1], lines[2], "it leads a group of its own: {}", ended.stdout);
    }

    #[tokio::test]
    async fn what_it_is_given_to_read_is_there_and_ends() {
        let ended = Program::new("cat").arg("/dev/stdin").input("one\ntwo\n").run().await.unwrap();
        assert_eq!(ended.stdout, "one\ntwo\n");
    }

    #[tokio::test]
    async fn an_argument_is_never_read_by_a_shell() {
        let odd = "$(touch /tmp/x); 'a' \"b\" -oDPkg::Pre-Invoke=sh";
        for program in [Program::new("printf"), Program::new("printf").for_all()] {
            let ended = program.args(["%s", odd]).run().await.unwrap();
            assert_eq!(ended.stdout, odd);
        }
    }

    #[tokio::test]
    async fn files_for_all_can_be_read_by_all() {
        let ended = shell("umask").for_all().run().await.unwrap();
        assert_eq!(ended.stdout.trim().trim_start_matches('0'), "22");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = Program::new("no-such-program").run().await.unwrap_err();
        assert!(matches!(error, ProcessError::Missing(ref name) if name == "no-such-program"), "{error}");
        assert!(find("/etc/passwd").is_none(), "what cannot be run is no program");
    }

    #[tokio::test]
    async fn one_that_is_late_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let run = shell(&script).time_limit(Duration::from_secs(2)).run().await;
        assert!(matches!(run, Err(ProcessError::Late { .. })), "{run:?}");
        until_gone(&until_written(&file).await).await;
    }

    #[tokio::test]
    async fn one_that_nobody_waits_for_any_more_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let running = tokio::spawn(shell(&script).run());
        let pid = until_written(&file).await;
        running.abort();
        until_gone(&pid).await;
    }

    #[tokio::test]
    async fn one_that_runs_apart_ends_its_work_when_nobody_waits_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let script = format!(
            "echo begun; echo half >&3; echo $$ > {0}; until [ -e {1} ]; do :; done; echo ended; echo whole >&3",
            at("pid").display(),
            at("go on").display(),
        )
        .replace(&at("go on").display().to_string(), &format!("'{}'", at("go on").display()));
        let (log, progress) = (at("log"), at("progress $x"));
        let running = tokio::spawn(async move { shell(&script).run_apart(&log, &progress).await });
        let pid = until_written(&at("pid")).await;
        running.abort();
        fs::write(at("go on"), "").unwrap();
        until_gone(&pid).await;
        assert_eq!(fs::read_to_string(at("log")).unwrap(), "begun\nended\n");
        assert_eq!(fs::read_to_string(at("progress $x")).unwrap(), "half\nwhole\n");
        let ended = shell("exit 7").run_apart(&at("log"), &at("progress $x")).await.unwrap();
        assert_eq!(ended, Some(7));
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_all_leaves_none_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let running = tokio::spawn(shell(&script).run());
        let pid = until_written(&file).await;
        running.abort();
        until_all_ended().await;
        assert!(is_gone(&pid), "{}", fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default());
    }

    #[tokio::test]
    async fn what_is_left_behind_with_the_pipes_holds_nobody_up() {
        let ended = shell("sleep 1000 & echo done").run().await.unwrap();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "done\n"));
    }

    #[tokio::test]
    async fn one_that_prints_for_ever_is_stopped_and_errors_are_cut() {
        let run = shell("yes").stdout_limit(1000).run().await;
        assert!(matches!(run, Err(ProcessError::TooMuch { limit: 1000, .. })), "{run:?}");
        let ended = shell("yes | head -c 1000000 >&2").run().await.unwrap();
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 64 * 1024));
    }

    #[tokio::test]
    async fn lines_are_handed_on_as_they_come_and_long_ones_are_cut() {
        let mut lines = Vec::new();
        let script = "printf 'a\\r\\n\\377\\n'; yes x | tr -d '\\n' | head -c 200000; printf '\\nlast'";
        let ended = shell(script).run_lines(|line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
        assert_eq!(lines.len(), 4);
        assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[3].as_str()), ("a", "\u{fffd}", "last"));
        assert_eq!(lines[2].len(), MAX_LINE);
    }
}
