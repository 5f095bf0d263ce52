//! Results to stdout, words to stderr. A reader that has gone (`campanile listen | head -1`) is no failure: the error
//! that says so ends the command, and `main` then ends with 0.

use std::io::{self, Write};

/// Results could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
struct OutputError(io::Error);

/// Writes a result and a line break, at once.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    write(&[text.as_bytes(), b"\n"])
}

/// Writes a result that brings its own line breaks.
pub(crate) fn text(text: &[u8]) -> anyhow::Result<()> {
    write(&[text])
}

fn write(parts: &[&[u8]]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut written = parts.iter().try_for_each(|part| stdout.write_all(part));
    if written.is_ok() {
        written = stdout.flush();
    }
    Ok(written.map_err(OutputError)?)
}

/// At most so many characters, on one line.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match line.char_indices().nth(width) {
        Some(_) => line
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
        None => line,
    }
}

/// Says something to the person at the terminal. If nobody can hear it, the work goes on.
pub(crate) fn words(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether the error is only that nobody reads the results any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let output = error.chain().find_map(|cause| cause.downcast_ref());
    matches!(output, Some(OutputError(error)) if error.kind() == io::ErrorKind::BrokenPipe)
}
