//! The real binary as a child process, for what only a process can show: kill -9, exit codes, files.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::soon;

/// The command that was built with these tests, or another in its place: one that was built for speed, say.
pub fn binary() -> Command {
    let built = env!("CARGO_BIN_EXE_campanile");
    let other = std::env::var_os("CAMPANILE_TEST_HUB");
    let mut command = Command::new(other.unwrap_or_else(|| built.into()));
    command.kill_on_drop(true).env_remove("CAMPANILE_CONFIG");
    // What is meant for the tests is not for the hub, which refuses what it does not know.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAMPANILE_TEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// `campanile serve` on a free port.
pub struct BinaryHub {
    child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    pub base: String,
}

impl BinaryHub {
    /// Serves the store in `data`, and returns when it accepts connections.
    pub async fn serve(data: &Path, more: &[&str]) -> Self {
        Self::serve_with(data, more, &[]).await
    }

    /// The same with variables in its environment.
    pub async fn serve_with(data: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = binary();
        command.envs(variables.iter().copied());
        Self::start(command, data, more, Stdio::null()).await
    }

    /// The same with its log, in JSON, in a file.
    pub async fn serve_logging(data: &Path, more: &[&str], log: &Path) -> Self {
        Self::serve_logging_with(data, more, &[], log).await
    }

    /// The same with variables in its environment.
    pub async fn serve_logging_with(
        data: &Path,
        more: &[&str],
        variables: &[(&str, &str)],
        log: &Path,
    ) -> Self {
        let more = [more, &["--log-format", "json"]].concat();
        let log = std::fs::File::create(log).expect("a file");
        let mut command = binary();
        command.envs(variables.iter().copied());
        Self::start(command, data, &more, log.into()).await
    }

    async fn start(mut command: Command, data: &Path, more: &[&str], log: Stdio) -> Self {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines();
        let line = soon("its first line", lines.next_line())
            .await
            .expect("a line")
            .expect("a line before the end");
        let base = line
            .strip_prefix("campanile listening on ")
            .unwrap_or_else(|| panic!("it said {line:?}"))
            .to_owned();
        Self {
            child,
            _stdout: lines,
            base,
        }
    }

    pub fn addr(&self) -> std::net::SocketAddr {
        self.base
            .split_once("://")
            .and_then(|(_, addr)| addr.parse().ok())
            .expect("an address")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("it can be killed");
        let _ = soon("its end", self.child.wait()).await;
    }

    /// SIGTERM; its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        soon("its end", self.child.wait())
            .await
            .expect("a status")
            .code()
    }
}

/// Runs a command on a data directory: its exit status, its results, its words.
pub async fn command(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut running = binary();
    let running = running.args(arguments).arg("--data").arg(data);
    let ended = soon("the end of the command", running.output()).await;
    let ended = ended.expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = ended.status.code().expect("it was not killed");
    (code, text(ended.stdout), text(ended.stderr))
}

/// A token from the command itself.
pub async fn token(data: &TempDir, user: &str, more: &[&str]) -> String {
    let output = binary()
        .args(["token", "--user", user, "--data"])
        .arg(data.path())
        .args(more)
        .output()
        .await
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}
