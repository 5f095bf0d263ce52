//! The `campanile` command. Each subcommand is a file of the same name; what several share is [`client`] (calling a hub)
//! and [`output`].
//!
//! Results go to stdout, words to stderr, so that scripts can take the one and people read the other. All this is
//! here and not in the library: whoever embeds the hub should not carry a command line along.

mod backup;
mod bench;
mod cancel;
mod client;
mod completions;
mod config;
mod console;
mod events;
mod exit;
mod inbox;
mod key;
mod listen;
mod logging;
mod output;
mod prune;
mod queue;
mod reach;
mod remind;
mod restore;
mod revoke;
mod send;
mod serve;
mod settings;
mod token;
mod trust;
mod webhook;
mod why;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;
use tokio::runtime;

use self::exit::Exit;
use self::settings::Settings;

/// A stream needs ten kilobytes while it is opened and half of one afterwards, and thousands are opened at once. jemalloc
/// keeps sizes apart and gives back what is free, by a thread of its own; the C library's allocator keeps it all, because
/// what stays lies between what goes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What is free goes back after a second; by default after ten, and a crowd that comes back is done in two.
// SAFETY: jemalloc reads a pointer to a string with a nul at its end from the variable of this name (TUNING.md; jemalloc(3),
// "malloc_conf"), and nothing else defines it: its own is weak.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 43] = b"background_thread:true,dirty_decay_ms:1000\0";

/// A real-time notification hub: POST a notification, every browser it is for has it at once, in order, durably.
///
/// Without a command it serves; its options follow `campanile serve`.
#[derive(Debug, Parser)]
#[command(name = "campanile", version, after_help = AFTER_HELP)]
struct Cli {
    /// The TOML file with the configuration, instead of ./campanile.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Examples:
  campanile                                        serve on 127.0.0.1:8400, the store in ./campanile-data
  campanile send --user 42 --message 'Your order has shipped'
  campanile cancel 019aa4f8-…                      take back what is scheduled, or what nobody took
  campanile listen --user 42                       follow what is for user 42, a JSON line each
  campanile key create --name billing --scope publish
  campanile inbox --user 42                        what they find when they come, and what of it is read
  campanile revoke --user 42                       end their streams, refuse what was issued to them
  campanile why CNC-1126-0001                      what became of it, and why somebody did not get it
  campanile webhook add https://example.com/hook   tell another program what nobody took
  campanile backup monday.db                       copy the store, whether the hub runs or not
  campanile queue diagnose                         what is wrong, and what to type next
  campanile bench broadcast                        how much this machine carries

Environment:
  CAMPANILE_<SECTION>_<KEY>   any key of the configuration, such as CAMPANILE_SERVE_LISTEN
  CAMPANILE_CONFIG            the configuration file, if --config does not name one
  CAMPANILE_TOKEN             the token with which `send` and `listen` call a hub
  CAMPANILE_LOG               what to log: info, campanile=debug, ...

Exit status:
  0  done
  1  it did not work; or `queue diagnose` found what somebody has to see to
  2  wrong usage or configuration
  3  the store, a copy of one, or the secret cannot be opened: rights missing, in use, damaged, full
  4  the hub cannot be reached
  5  not allowed: the hub refused the credentials (401, 403)";

/// What each does, and examples, stand with its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Send(Box<send::Args>),
    Cancel(cancel::Args),
    Listen(listen::Args),
    Token(token::Args),
    Key(key::Args),
    Inbox(inbox::Args),
    Revoke(revoke::Args),
    Why(why::Args),
    Webhook(webhook::Args),
    Remind(remind::Args),
    Prune(prune::Args),
    Backup(backup::Args),
    Bench(Box<bench::Args>),
    Restore(restore::Args),
    Queue(queue::Args),
    Console(console::Args),
    Config(config::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    // clap ends the process by itself: with 2 on wrong usage, with 0 after --help.
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::words(&format!("campanile: {}", exit::in_one_line(&error)));
            Exit::of(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = Settings::of_process(cli.config);
    let command = cli
        .command
        .unwrap_or_else(|| Command::Serve(Box::default()));
    match command {
        Command::Serve(args) => {
            let runtime = runtime::Builder::new_multi_thread().enable_all().build();
            block_on(runtime, serve::run(*args, &settings))
        }
        Command::Send(args) => block_on(one_thread(), send::run(*args, &settings)),
        Command::Cancel(args) => block_on(one_thread(), cancel::run(args, &settings)),
        Command::Listen(args) => block_on(one_thread(), listen::run(args, &settings)),
        Command::Key(args) => block_on(one_thread(), key::run(args, &settings)),
        Command::Inbox(args) => block_on(one_thread(), inbox::run(args, &settings)),
        Command::Revoke(args) => block_on(one_thread(), revoke::run(args, &settings)),
        Command::Why(args) => block_on(one_thread(), why::run(args, &settings)),
        Command::Webhook(args) => block_on(one_thread(), webhook::run(args, &settings)),
        Command::Remind(args) => block_on(one_thread(), remind::run(args, &settings)),
        Command::Prune(args) => block_on(one_thread(), prune::run(args, &settings)),
        Command::Backup(args) => block_on(one_thread(), backup::run(args, &settings)),
        Command::Restore(args) => block_on(one_thread(), restore::run(args, &settings)),
        Command::Queue(args) => block_on(one_thread(), queue::run(args, &settings)),
        Command::Console(args) => block_on(one_thread(), console::run(args, &settings)),
        Command::Bench(args) => bench::run(*args, &settings),
        Command::Token(args) => token::run(args, &settings),
        Command::Config(args) => config::run(&args, &settings),
        Command::Completions(args) => completions::run(&args),
    }
}

fn one_thread() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

fn block_on(
    runtime: std::io::Result<runtime::Runtime>,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // What still blocks a thread by now was given up: a second Ctrl-C must not wait for it.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
