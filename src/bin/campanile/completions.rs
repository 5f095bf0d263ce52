//! `campanile completions`: a script with which a shell completes this command line, made from its own definition.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{Cli, output};

/// Print a shell's completions.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  campanile completions bash > /usr/share/bash-completion/completions/campanile
  campanile completions zsh > ~/.zfunc/_campanile
  campanile completions fish > ~/.config/fish/completions/campanile.fish";

/// Prints them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "campanile", &mut script);
    output::text(&script)
}
