//! How far a run is, for whoever watches a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr; none if that is no terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %");
        Self(match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// Another phase begins.
    pub(super) fn begin(&self, phase: &'static str, length: u64) {
        if !self.0.is_hidden() {
            self.0.set_message(phase);
            self.0.set_length(length);
            self.0.set_position(0);
        }
    }

    pub(super) fn at(&self, position: u64) {
        if !self.0.is_hidden() {
            self.0.set_position(position);
        }
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
