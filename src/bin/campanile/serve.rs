//! `campanile serve`: the hub, until a signal asks it to stop. The first SIGTERM or SIGINT drains; a second one ends
//! it at once, for whoever does not want to wait.

use anyhow::Context;
use campanile::config::Setting;
use campanile::server::Server;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Run the hub (the default).
///
/// It prints one line with its address once it accepts connections, and on stderr a link that signs in to its console,
/// once. SIGTERM and Ctrl-C let it finish what it has accepted and tell the streams to come back; again, and it ends at
/// once. Flags win over the environment, which wins over the configuration file: see `campanile config`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Where to listen [default: 127.0.0.1:8400].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The certificate and those that lead to its issuer, as a PEM file: speak TLS, with HTTP/2 [default: none].
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its private key, as a PEM file. Both are read again when they change.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// A second address that serves /metrics and /healthz alone, without credentials [default: none].
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<String>,
    /// The directory for the store and the secret [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The SQLite file, if not in the data directory.
    #[arg(long, value_name = "PATH")]
    database: Option<String>,
    /// When those who did not take a notification are asked again [default: 1s,5s,25s].
    #[arg(long, value_name = "DURATIONS")]
    retry: Option<String>,
    /// How long after the start no such try counts [default: 60s].
    #[arg(long, value_name = "DURATION")]
    start_grace: Option<String>,
    /// How often a quiet stream shows that it is alive [default: 15s].
    #[arg(long, value_name = "DURATION")]
    heartbeat: Option<String>,
    /// Blocks of addresses to which webhooks go although they are not public, and without TLS, such as 127.0.0.0/8
    /// [default: none].
    #[arg(long, value_name = "BLOCKS")]
    webhook_allow: Option<String>,
    /// The secret of a site with NextAuth.js or Auth.js, whose sessions then count here. Others see it among the
    /// processes: better --nextauth-secret-file, or CAMPANILE_AUTH_NEXTAUTH_SECRET.
    #[arg(long, value_name = "SECRET")]
    nextauth_secret: Option<String>,
    /// A file with it; several lines are several secrets.
    #[arg(long, value_name = "FILE")]
    nextauth_secret_file: Option<String>,
    /// The deadline of a graceful stop [default: 10s].
    #[arg(long, value_name = "DURATION")]
    drain: Option<String>,
    /// Start a new epoch: the store was put back from a copy, and places in it may mean other notifications now.
    #[arg(long)]
    new_epoch: bool,
    /// Do not print a link to the console: where stderr is kept, it would be kept too. With a JSON log none is printed.
    #[arg(long)]
    no_link: bool,
    /// How the log on stderr looks; CAMPANILE_LOG says what is in it.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    // Last, because its heading stands over all that follows.
    #[command(flatten)]
    issuer: IssuerArgs,
}

const AFTER_HELP: &str = "\
Examples:
  campanile serve
  campanile serve --listen 0.0.0.0:8400 --data /var/lib/campanile
  campanile serve --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem
  campanile serve --retry 1s,5s,25s --start-grace 60s
  campanile serve --issuer https://login.example.com/realms/shop --audience campanile \\
    --jwks-url https://login.example.com/realms/shop/protocol/openid-connect/certs --role-claim realm_access.roles
  CAMPANILE_LOG=campanile=debug campanile serve --log-format json";

impl Args {
    /// The flags that were given, as values of the configuration.
    fn settings(&self) -> Vec<Setting> {
        let flags = [
            ("--listen", "serve.listen", &self.listen),
            (
                "--metrics-listen",
                "serve.metrics_listen",
                &self.metrics_listen,
            ),
            ("--tls-cert", "tls.certificate", &self.tls_cert),
            ("--tls-key", "tls.key", &self.tls_key),
            ("--data", "serve.data", &self.data),
            ("--database", "serve.database", &self.database),
            ("--retry", "delivery.retry", &self.retry),
            ("--start-grace", "delivery.start_grace", &self.start_grace),
            ("--heartbeat", "stream.heartbeat", &self.heartbeat),
            ("--webhook-allow", "webhooks.allow", &self.webhook_allow),
            (
                "--nextauth-secret",
                "auth.nextauth_secret",
                &self.nextauth_secret,
            ),
            (
                "--nextauth-secret-file",
                "auth.nextauth_secret_file",
                &self.nextauth_secret_file,
            ),
            ("--drain", "serve.drain", &self.drain),
        ];
        let given = |(flag, key, text): (&str, &str, &Option<String>)| {
            Some(Setting::flag(flag, key, text.as_ref()?))
        };
        let issuer = self.issuer.setting();
        flags.into_iter().filter_map(given).chain(issuer).collect()
    }
}

/// One other issuer of tokens, where a line should do; the configuration's `[[auth.issuers]]` says all there is to say.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Tokens of another issuer (instead of auth.issuers)")]
struct IssuerArgs {
    /// Where it publishes its keys, as a JWKS.
    #[arg(long, value_name = "URL", group = "issuer_keys")]
    jwks_url: Option<String>,
    /// Its public key in PEM, or a JWKS.
    #[arg(long, value_name = "FILE", group = "issuer_keys")]
    jwt_key: Option<String>,
    /// A secret that it shares with this hub, for HS256.
    #[arg(long, value_name = "FILE", group = "issuer_keys")]
    jwt_secret_file: Option<String>,
    /// Its name, as its tokens have it in `iss` [default: any].
    #[arg(long, value_name = "NAME", requires = "issuer_keys")]
    issuer: Option<String>,
    /// Whom its tokens must be meant for; may be given several times.
    #[arg(long, value_name = "NAME", requires = "issuer_keys")]
    audience: Vec<String>,
    /// Take tokens that are meant for anybody: it signs for nobody else.
    #[arg(long, requires = "issuer_keys")]
    any_audience: bool,
    /// Where the roles stand, such as realm_access.roles; may be given several times [default: roles].
    #[arg(long, value_name = "PATH", requires = "issuer_keys")]
    role_claim: Vec<String>,
}

impl IssuerArgs {
    /// As the configuration has it: a list of one.
    fn setting(&self) -> Option<Setting> {
        let keys = [
            ("--jwks-url", "jwks_url", &self.jwks_url),
            ("--jwt-key", "key_file", &self.jwt_key),
            ("--jwt-secret-file", "secret_file", &self.jwt_secret_file),
        ];
        let (flag, key, value) = keys
            .into_iter()
            .find_map(|(flag, key, value)| Some((flag, key, value.clone()?)))?;
        let mut issuer = toml::Table::new();
        issuer.insert(key.to_owned(), value.into());
        if let Some(name) = &self.issuer {
            issuer.insert("issuer".to_owned(), name.clone().into());
        }
        for (key, texts) in [
            ("audience", &self.audience),
            ("role_claims", &self.role_claim),
        ] {
            if !texts.is_empty() {
                issuer.insert(key.to_owned(), texts.clone().into());
            }
        }
        if self.any_audience {
            issuer.insert("any_audience".to_owned(), true.into());
        }
        let list = toml::Value::Array(vec![issuer.into()]);
        Some(Setting::flag(flag, "auth.issuers", list))
    }
}

/// Serves until it is told to stop.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), args.log_format, "info")?;
    let config = settings.load(&args.settings())?;
    // Before anything that a signal should not cut in two.
    let mut signals = Signals::listen()?;
    let server = Server::open_with(config, args.new_epoch).await?;
    output::line(&format!("campanile listening on {}", server.url()))?;
    if let Some(address) = server.metrics_addr() {
        say(
            args.log_format,
            &format!("metrics on http://{address}/metrics"),
        );
    }
    // A log for machines is kept, and the link is a credential.
    if !args.no_link && args.log_format == LogFormat::Text {
        let link = server.console_link();
        output::words(&format!("open {link} (once, within 15 minutes)"));
    }
    let (stop, stopping) = oneshot::channel::<()>();
    let serving = server.run(async {
        // An error would mean that the sender is gone, and then nobody is left who could want this to go on.
        let _ = stopping.await;
    });
    tokio::select! {
        ended = serving => Ok(ended?),
        () = signals.twice(stop, args.log_format) => anyhow::bail!("stopped by a second signal, before everything was done"),
    }
}

/// Says something beside the log, or in it where each of its lines is JSON.
fn say(format: LogFormat, words: &str) {
    match format {
        LogFormat::Text => output::words(words),
        LogFormat::Json => tracing::info!("{words}"),
    }
}

/// SIGTERM and SIGINT, each of which means the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Passes the first on to `stop`, and resolves with the second.
    async fn twice(&mut self, stop: oneshot::Sender<()>, format: LogFormat) {
        self.next().await;
        say(format, "draining; once more to end at once");
        // If nobody listens any more, the server has already ended.
        let _ = stop.send(());
        self.next().await;
    }
}
