//! Where values come from: defaults, then a TOML file, then `CAMPANILE_…` in the environment, then flags.
//!
//! Each layer is checked by itself as it is laid on, so that an error can say which line, variable or flag is wrong;
//! the bounds are checked once, on what comes out, and blamed on the last layer that set the key. This is the only
//! place in the crate that reads the environment: all else is handed an [`Environment`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, DEFAULT_FILE};

/// The largest configuration file, in bytes: a slip such as `--config campanile.db` must not be read whole.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const PREFIX: &str = "CAMPANILE_";

/// Variables with the prefix that are no keys of the configuration.
const OTHERS: [&str; 3] = ["CAMPANILE_CONFIG", "CAMPANILE_LOG", "CAMPANILE_TOKEN"];

/// Why there is no configuration. Each is one line that names where the trouble is.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was asked for cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A key or a value is wrong.
    #[error("{origin}: {problem}")]
    Invalid {
        /// The file and line, the variable or the flag; for a value set in code, `configuration`.
        origin: String,
        /// The key, and what would be allowed.
        problem: String,
    },
}

/// The process's variables whose names begin with `CAMPANILE_`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Those of this process, read once.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// `CAMPANILE_CONFIG`: the file to read if no flag names one.
    pub fn config_file(&self) -> Option<PathBuf> {
        self.0.get("CAMPANILE_CONFIG").map(PathBuf::from)
    }

    /// `CAMPANILE_LOG`: what to log, in the syntax of `tracing`'s filters: `info`, `campanile=debug`.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn log(&self) -> Result<Option<&str>, ConfigError> {
        self.text("CAMPANILE_LOG")
    }

    /// `CAMPANILE_TOKEN`: what the commands that call a hub present to it.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn token(&self) -> Result<Option<&str>, ConfigError> {
        self.text("CAMPANILE_TOKEN")
    }

    fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.0.get(name).map(|value| value.to_str()) {
            Some(None) => Err(invalid(name, "must be UTF-8")),
            Some(value) => Ok(value),
            None => Ok(None),
        }
    }

    fn settings(&self) -> Result<Vec<Setting>, ConfigError> {
        let sections = defaults();
        let mut settings = Vec::new();
        for name in self.0.keys().filter(|name| !is_foreign(name)) {
            let lower = name[PREFIX.len()..].to_ascii_lowercase();
            let key = sections.keys().find_map(|section| {
                let key = lower.strip_prefix(section.as_str())?.strip_prefix('_')?;
                Some(format!("{section}.{key}"))
            });
            let Some(key) = key else {
                let known: Vec<String> =
                    sections.keys().map(|it| it.to_ascii_uppercase()).collect();
                let problem = format!(
                    "no such setting: after {PREFIX} comes one of {}, then _ and a key",
                    known.join(", ")
                );
                return Err(invalid(name, &problem));
            };
            let text = self.text(name)?.unwrap_or_default().to_owned();
            settings.push(Setting {
                origin: name.clone(),
                key,
                text,
            });
        }
        Ok(settings)
    }
}

impl<K: AsRef<str>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    /// Keeps the variables that begin with `CAMPANILE_` and are not empty: `CAMPANILE_X=` is how compose files and
    /// unit files say "not set".
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let ours = variables
            .into_iter()
            .map(|(name, value)| (name.as_ref().to_owned(), value.into()))
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        Self(ours.collect())
    }
}

/// Names only: `CAMPANILE_TOKEN` is a secret.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Whether a variable has another purpose: ours, or those that Kubernetes puts into every container of a namespace
/// that has a service called `campanile` (`CAMPANILE_SERVICE_HOST`, `CAMPANILE_PORT_8400_TCP`, …).
fn is_foreign(name: &str) -> bool {
    OTHERS.contains(&name)
        || name == "CAMPANILE_PORT"
        || name.starts_with("CAMPANILE_PORT_")
        || name.starts_with("CAMPANILE_SERVICE_")
}

/// One value from a flag or a variable: text that is read according to its key's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What an error names: `--listen`, `CAMPANILE_SERVE_LISTEN`.
    pub origin: String,
    /// The key with its section: `serve.listen`.
    pub key: String,
    /// The value: a number, a text, a list with commas or in TOML, a table in TOML.
    pub text: String,
}

impl Setting {
    /// A value that a flag gave.
    pub fn flag(flag: &str, key: &str, text: impl ToString) -> Self {
        Self {
            origin: flag.to_owned(),
            key: key.to_owned(),
            text: text.to_string(),
        }
    }

    /// Lays this value over what is there, after checking that its key exists and takes it.
    fn lay_over(&self, table: &mut Table) -> Result<(), ConfigError> {
        let (section, key) = self.key.split_once('.').unwrap_or((&self.key, ""));
        let value = self.value(section, key)?;
        let alone: Table = [(key.to_owned(), value.clone())].into_iter().collect();
        let alone: Table = [(section.to_owned(), Value::Table(alone))]
            .into_iter()
            .collect();
        Config::deserialize(alone).map_err(|error| {
            invalid(
                &self.origin,
                &format!("{}: {}", self.key, plain(error.message())),
            )
        })?;
        let section = table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Some(section) = section.as_table_mut() {
            section.insert(key.to_owned(), value);
        }
        Ok(())
    }

    fn value(&self, section: &str, key: &str) -> Result<Value, ConfigError> {
        let text = self.text.trim();
        let toml = || {
            text.parse::<Value>().map_err(|error| {
                invalid(
                    &self.origin,
                    &format!("{}: {}", self.key, plain(error.message())),
                )
            })
        };
        let default = defaults();
        match default.get(section).and_then(|section| section.get(key)) {
            Some(Value::Integer(_)) => Ok(text
                .parse()
                .map_or_else(|_| Value::String(text.to_owned()), Value::Integer)),
            Some(Value::Boolean(_)) => Ok(text
                .parse()
                .map_or_else(|_| Value::String(text.to_owned()), Value::Boolean)),
            Some(Value::Array(_)) if text.starts_with('[') => toml(),
            Some(Value::Array(_)) => {
                let items = text
                    .split(',')
                    .map(|item| Value::String(item.trim().to_owned()));
                Ok(Value::Array(items.collect()))
            }
            Some(Value::Table(_)) => toml(),
            _ => Ok(Value::String(self.text.clone())),
        }
    }
}

impl Config {
    /// Loads what the module says: defaults, then `file` (or what [`Environment::config_file`] names, or
    /// [`DEFAULT_FILE`] if it exists), then the environment, then `flags`.
    ///
    /// # Errors
    /// A file that cannot be read, or the first key or value that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        flags: &[Setting],
    ) -> Result<Self, ConfigError> {
        let file = ConfigFile::find(file, environment)?;
        let mut table = match &file {
            Some(file) => file.table()?,
            None => Table::new(),
        };
        let variables = environment.settings()?;
        let settings: Vec<&Setting> = variables.iter().chain(flags).collect();
        for setting in &settings {
            setting.lay_over(&mut table)?;
        }
        let config = Self::deserialize(table)
            .map_err(|error| invalid("configuration", &plain(error.message())))?;
        config.validate().map_err(|error| {
            let set_last = settings
                .iter()
                .rev()
                .find(|setting| setting.key == error.key);
            let origin = match (set_last, &file) {
                (Some(setting), _) => setting.origin.clone(),
                (None, Some(file)) => file.origin_of(error.key),
                (None, None) => "configuration".to_owned(),
            };
            invalid(&origin, &error.to_string())
        })?;
        Ok(config)
    }
}

/// A file that has been read but not yet understood.
struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    fn find(named: Option<&Path>, environment: &Environment) -> Result<Option<Self>, ConfigError> {
        let named = named
            .map(Path::to_owned)
            .or_else(|| environment.config_file());
        let is_optional = named.is_none();
        let path = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match read(&path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) if is_optional && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(ConfigError::Unreadable { path, reason }),
        }
    }

    /// What the file says, once every key in it is known and has a value of its type.
    fn table(&self) -> Result<Table, ConfigError> {
        let broken = |error: toml::de::Error| {
            invalid(
                &self.line_of(error.span().map_or(0, |span| span.start)),
                &plain(error.message()),
            )
        };
        let document = toml::Deserializer::parse(&self.text).map_err(broken)?;
        serde_path_to_error::deserialize::<_, Config>(document).map_err(|error| {
            let key = error.path().to_string();
            let error = error.into_inner();
            let origin = match error.span() {
                Some(span) => self.line_of(span.start),
                None => self.origin_of(&key),
            };
            invalid(&origin, &format!("{key}: {}", plain(error.message())))
        })?;
        toml::from_str(&self.text).map_err(broken)
    }

    /// `path:line` of a byte.
    fn line_of(&self, byte: usize) -> String {
        let before = self.text.as_bytes().iter().take(byte);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.path.display())
    }

    /// `path:line` of a key, or the path alone if the file does not set it.
    fn origin_of(&self, key: &str) -> String {
        let document = DeTable::parse(&self.text).ok();
        let byte = document.and_then(|document| {
            let (section, key) = key.split_once('.')?;
            let section = match document.get_ref().get(section)?.get_ref() {
                DeValue::Table(section) => section,
                _ => return None,
            };
            let (name, _) = section.get_key_value(key)?;
            Some(name.span().start)
        });
        byte.map_or_else(
            || self.path.display().to_string(),
            |byte| self.line_of(byte),
        )
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// The defaults as TOML: which sections there are, and of which type a key's value is.
fn defaults() -> Table {
    Table::try_from(Config::default()).unwrap_or_default()
}

/// A parser's message as one line that does not speak Rust.
fn plain(message: &str) -> String {
    let message = message
        .replace("usize", "a whole number")
        .replace("u32", "a whole number");
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn invalid(origin: &str, problem: &str) -> ConfigError {
    ConfigError::Invalid {
        origin: origin.to_owned(),
        problem: problem.to_owned(),
    }
}
