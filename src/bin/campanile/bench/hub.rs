//! A hub of its own: the same executable, serving from a directory that is removed with it.

use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;
use campanile::auth::{Authenticator, Secret};
use campanile::config::Config;

use super::interrupt::Interrupt;
use super::pinning::{Cores, pin_to};

/// How long a hub may take to start.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How often a signal is looked for meanwhile.
const GLANCE: Duration = Duration::from_millis(20);
/// The magic number of a file system in memory, where an fsync costs nothing: statfs(2).
const TMPFS: u64 = 0x0102_1994;

/// A running hub.
pub(super) struct OwnHub {
    process: Process,
    // After the process, which has its store in it.
    directory: Directory,
    pub(super) url: String,
    pub(super) authenticator: Authenticator,
    pub(super) cores: Option<Cores>,
    /// Open, so that the hub can write to it.
    _stdout: BufReader<ChildStdout>,
}

impl OwnHub {
    /// Starts one on a free port, on a core of its own if there are two, and moves this thread to the other. `variables` say
    /// how it differs from a hub with the defaults.
    pub(super) fn start(
        parent: &Path,
        variables: &[(&str, String)],
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let directory = Directory::create(parent)?;
        let secret = Secret::load_or_create(&directory.0.join("secret"))?;
        let authenticator = Authenticator::new(secret, &Config::default().auth);
        let cores = Cores::choose()?;
        if let Some(cores) = cores {
            pin_to(cores.hub)?;
        }
        let spawned = spawn(&directory, variables);
        if let Some(cores) = cores {
            pin_to(cores.load)?;
        }
        let mut process = Process(spawned?);
        let (url, stdout) = process.first_line(&directory, interrupt)?;
        Ok(Self {
            process,
            directory,
            url,
            authenticator,
            cores,
            _stdout: stdout,
        })
    }

    pub(super) fn process(&self) -> u32 {
        self.process.0.id()
    }

    /// Whether its store is in memory, so that being durable costs it nothing.
    pub(super) fn is_in_memory(&self) -> bool {
        rustix::fs::statfs(&self.directory.0).is_ok_and(|it| it.f_type as u64 == TMPFS)
    }
}

/// A child that ends with this: nothing that it has is needed any more then.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Waits for the line that says where it listens.
    fn first_line(
        &mut self,
        directory: &Directory,
        interrupt: &Interrupt,
    ) -> anyhow::Result<(String, BufReader<ChildStdout>)> {
        let stdout = self.0.stdout.take().context("the hub has no output")?;
        let (tell, told) = mpsc::channel();
        // It ends with the line, or with the hub.
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            // Nobody listens any more if the start was given up.
            let _ = tell.send((read.map(|_| line), stdout));
        });
        let begun = Instant::now();
        let (line, stdout) = loop {
            interrupt.check()?;
            match told.recv_timeout(GLANCE) {
                Ok((line, stdout)) => break (line?, stdout),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < START_PATIENCE => {}
                Err(_) => anyhow::bail!("the hub did not start: {}", directory.last_words()),
            }
        };
        let url = line.trim_end().strip_prefix("campanile listening on ");
        let url =
            url.with_context(|| format!("the hub did not start: {}", directory.last_words()))?;
        Ok((url.to_owned(), stdout))
    }
}

fn spawn(directory: &Directory, variables: &[(&str, String)]) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let log = File::create(directory.log()).context("cannot write the hub's log")?;
    let mut command = Command::new(program);
    // What configures the hubs of this machine is not meant for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAMPANILE_") {
            command.env_remove(name);
        }
    }
    command
        .args([
            "serve",
            "--no-link",
            "--listen",
            "127.0.0.1:0",
            "--data",
            ".",
        ])
        .current_dir(&directory.0)
        .env("CAMPANILE_LOG", "warn")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for this process, which ends the hub when it has ended itself.
        .process_group(0)
        .spawn()
        .context("cannot start a hub")
}

/// A directory of its own, removed with this.
struct Directory(PathBuf);

impl Directory {
    fn create(parent: &Path) -> anyhow::Result<Self> {
        let parent = parent
            .canonicalize()
            .with_context(|| format!("cannot use {}", parent.display()))?;
        let path = parent.join(format!("campanile-bench-{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The last line of the hub's log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last = log.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            let path = self.0.display();
            crate::output::words(&format!("campanile: cannot remove {path}: {error}"));
        }
    }
}
