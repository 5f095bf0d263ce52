//! `campanile bench`: how much a hub carries on this machine, or any other server with event streams. One thread drives all
//! streams and publishers with one poll, on a core of its own, and allocates nothing for what it publishes or reads.
//!
//! [`options`] what can be asked; [`hub`] a hub of its own, [`pinning`] on a core of its own; [`server`] and [`template`]
//! what a server is asked; [`load`] the loop, over [`streams`] and [`publishers`]; [`marks`] how a message is found again,
//! [`tally`] what is made of it; [`usage`] what the server used meanwhile; [`report`] what comes out.

mod answer;
mod histogram;
mod hub;
mod interrupt;
mod limits;
mod load;
mod marks;
mod options;
mod pinning;
mod progress;
mod publishers;
mod report;
mod run;
mod schedule;
mod server;
mod streams;
mod tally;
mod template;
mod usage;

use reqwest::Url;

use self::hub::OwnHub;
use self::interrupt::Interrupt;
use self::load::Watch;
pub(crate) use self::options::Args;
use self::options::{OtherArgs, Work};
use self::progress::Progress;
use self::run::{BYSTANDERS, Run};
use self::server::{HubRequests, Publication, Server, Tokens, Users};
use self::streams::Welcome;
use self::template::{Request, Template};
use crate::client::Target;
use crate::exit::Usage;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Runs the load and prints what came out.
pub(crate) fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    args.check()?;
    limits::check(total_streams(&args), args.publishers(), args.own_hub())?;
    let watch = Watch {
        interrupt: Interrupt::listen()?,
        progress: Progress::new(),
    };
    // The hub, if it is our own, is there until the end.
    let (server, hub) = server(&args, settings, &watch)?;
    server.reach()?;
    let report = Run::new(&args, &server, &watch).report()?;
    drop(hub);
    watch.progress.end();
    if args.json {
        output::line(&serde_json::to_string(&report)?)?;
    } else {
        output::text(report.table().as_bytes())?;
    }
    match report.problem() {
        Some(problem) => anyhow::bail!("{problem}"),
        None => Ok(()),
    }
}

/// With those that only look on.
fn total_streams(args: &Args) -> usize {
    let bystanders = if args.work == Work::Resume {
        BYSTANDERS
    } else {
        0
    };
    args.streams as usize + bystanders
}

fn server(
    args: &Args,
    settings: &Settings,
    watch: &Watch,
) -> anyhow::Result<(Server, Option<OwnHub>)> {
    if args.other.are_given() {
        return Ok((other_server(args)?, None));
    }
    if args.own_hub() {
        return own_hub(args, watch);
    }
    Ok((running_hub(args, settings)?, None))
}

fn own_hub(args: &Args, watch: &Watch) -> anyhow::Result<(Server, Option<OwnHub>)> {
    // Nobody is to be asked for new credentials, and whoever comes back is to get all that was missed.
    let mut variables = vec![("CAMPANILE_STREAM_MAX_AGE", "7d".to_owned())];
    if args.work == Work::Resume {
        variables.push(("CAMPANILE_STREAM_REPLAY_LIMIT", "100000".to_owned()));
    }
    let system = std::env::temp_dir();
    let parent = args.dir.as_deref().unwrap_or(&system);
    let hub = OwnHub::start(parent, &variables, &watch.interrupt)?;
    let (process, url) = (hub.process(), &hub.url);
    let place = match hub.cores {
        Some(cores) => format!("on core {}, the load on core {}", cores.hub, cores.load),
        None => "on the same cores as the load".to_owned(),
    };
    output::words(&format!(
        "a hub serves at {url} (process {process}), {place}"
    ));
    if hub.is_in_memory() {
        output::words(
            "its store is in memory, where being durable costs nothing: --dir puts it on a disk",
        );
    }
    let url = Url::parse(url)?;
    let (users, roles) = (Users::new(), args.roles as usize);
    let tokens = users.tokens(&hub.authenticator, total_streams(args), roles);
    let publisher = server::publisher_token(&hub.authenticator);
    // Other systems do not tell what it uses.
    let processes = if cfg!(target_os = "linux") {
        vec![process]
    } else {
        Vec::new()
    };
    let server = hub_server(args, &url, &users, tokens, &publisher, processes)?;
    Ok((server, Some(hub)))
}

fn running_hub(args: &Args, settings: &Settings) -> anyhow::Result<Server> {
    let target = Target {
        url: args.running.url.clone(),
        data: args.running.data.clone(),
        token: args.running.token.clone(),
    };
    let url = target.place(settings)?.base().clone();
    let given = match &target.data {
        Some(_) => None,
        None => target.given_token(settings)?,
    };
    let users = Users::new();
    let (tokens, publisher) = match given {
        Some(token) => (Tokens::Shared(token.clone()), token),
        None => {
            let authenticator = target.own_secret(settings)?;
            let roles = args.roles as usize;
            (
                users.tokens(&authenticator, total_streams(args), roles),
                server::publisher_token(&authenticator),
            )
        }
    };
    let processes = args.running.pid.clone();
    hub_server(args, &url, &users, tokens, &publisher, processes)
}

fn hub_server(
    args: &Args,
    url: &Url,
    users: &Users,
    tokens: Tokens,
    publisher: &str,
    processes: Vec<u32>,
) -> anyhow::Result<Server> {
    let address = server::address(url)?;
    let requests = HubRequests::new(url, publisher)?;
    let one_by_one = args.batch == 1;
    let everyone = || requests.publication("/notifications", r#""everyone":true,"#);
    let publication = match args.work {
        Work::Broadcast if one_by_one => requests.publication("/notifications/broadcast", ""),
        Work::Broadcast | Work::Connect => everyone(),
        Work::Role => {
            let audience = format!(r#""targetRoles":["{}"],"#, server::role("{i}"));
            requests.publication("/notifications", &audience)
        }
        Work::User | Work::Resume => {
            let audience = format!(r#""targetUserId":"{}","#, users.name("{i}"));
            requests.publication("/notifications", &audience)
        }
    };
    Ok(Server {
        streams_at: address,
        publish_at: address,
        welcome: Welcome::Connected,
        stream: requests.stream(),
        publication,
        missed: Some(everyone()),
        tokens,
        pad: "x".repeat(args.pad.into()),
        processes,
    })
}

fn other_server(args: &Args) -> anyhow::Result<Server> {
    let OtherArgs {
        port,
        stream_path,
        stream_header,
        publish_path,
        publish_method,
        publish_body,
        publish_header,
        publish_port,
        per: _,
    } = &args.other;
    let url = match (&args.running.url, port) {
        (Some(url), _) => Url::parse(url).map_err(|error| Usage(format!("--url: {error}")))?,
        (None, port) => Url::parse(&format!("http://127.0.0.1:{}", port.unwrap_or(80)))?,
    };
    if url.path() != "/" || url.query().is_some() {
        let problem = "--url: is only where another server is; what to ask it stands in --stream-path and --publish-path";
        return Err(Usage(problem.to_owned()).into());
    }
    let streams_at = server::address(&url)?;
    let mut publish_at = streams_at;
    publish_at.set_port(publish_port.unwrap_or(publish_at.port()));
    let host = server::host(&url)?;
    let accept = Template::parse("Accept: text/event-stream");
    let headers = |lines: &[String]| {
        lines
            .iter()
            .map(|it| Template::parse(it))
            .collect::<Vec<_>>()
    };
    let body = publish_body.as_deref().unwrap_or("{mark}{pad}");
    let single = Request {
        method: publish_method.as_deref().unwrap_or("POST").to_owned(),
        host: host.clone(),
        path: Template::parse(publish_path.as_deref().unwrap_or("/")),
        headers: headers(publish_header),
    };
    let publication = Publication {
        batch: single.clone(),
        single,
        body: Template::parse(body),
    };
    if !publication.body.has_mark() {
        return Err(Usage("--publish-body: must hold {mark}".to_owned()).into());
    }
    Ok(Server {
        streams_at,
        publish_at,
        welcome: Welcome::Status,
        stream: Request {
            method: "GET".to_owned(),
            host,
            path: Template::parse(stream_path.as_deref().unwrap_or("/")),
            headers: [vec![accept], headers(stream_header)].concat(),
        },
        publication,
        missed: None,
        tokens: Tokens::None,
        pad: "x".repeat(args.pad.into()),
        processes: args.running.pid.clone(),
    })
}
