//! The configuration as the commands come by it: the environment is read once, the rest when it is needed, so that
//! `campanile send --url … --token …` does not fail over a file that it has no use for.

use std::path::PathBuf;

use campanile::auth::{Authenticator, Secret};
use campanile::config::{Config, ConfigError, Environment, Setting};

/// Where the configuration of this run comes from.
pub(crate) struct Settings {
    file: Option<PathBuf>,
    environment: Environment,
}

impl Settings {
    /// With the file that `--config` names, if it does.
    pub(crate) fn of_process(file: Option<PathBuf>) -> Self {
        Self {
            file,
            environment: Environment::of_process(),
        }
    }

    /// What the process's environment says.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The configuration with these flags on top.
    pub(crate) fn load(&self, flags: &[Setting]) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref(), &self.environment, flags)
    }

    /// The configuration with `--data` on top, if it was given.
    pub(crate) fn load_for(&self, data: Option<&str>) -> Result<Config, ConfigError> {
        let flag = data.map(|data| Setting::flag("--data", "serve.data", data));
        self.load(flag.as_slice())
    }
}

/// What signs and checks with the secret of this data directory; makes the secret if there is none.
pub(crate) fn authenticator(config: &Config) -> anyhow::Result<Authenticator> {
    let secret = Secret::load_or_create(&config.serve.secret_path())?;
    Ok(Authenticator::new(secret, &config.auth))
}
