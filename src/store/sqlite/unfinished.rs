//! A file that is not seen in its place before it is whole and on the disk.
//!
//! It is written beside its place, as `<name>.unfinished`, and locked meanwhile: so what a killed process left can be told from
//! what another one is writing, and the next attempt clears it away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::open::{beside, private};

/// How long what is written may wait to be brought to the disk.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// A file on its way to its place; removed if it does not get there.
pub(super) struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    /// An empty file beside `place`, for its owner's eyes alone.
    pub(super) fn beside(place: &Path) -> io::Result<Self> {
        let path = beside(place, ".unfinished");
        clear_away(&path)?;
        let file = private(OpenOptions::new().create_new(true)).open(&path)?;
        lock(&file, &path)?;
        // SQLite would take it for the new file's, and undo by it what that never did.
        match std::fs::remove_file(beside(&path, "-journal")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(Self { path, file }),
        }
    }

    /// Where it is written.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has what is written meanwhile brought to the disk as it comes. All at once at the end, it would be in the way of
    /// whoever else waits for an fsync of theirs.
    ///
    /// # Errors
    /// If the disk did not take it.
    pub(super) fn syncing_meanwhile<T>(&self, write: impl FnOnce() -> T) -> io::Result<T> {
        let (written, is_written) = sync_channel::<()>(0);
        std::thread::scope(|scope| {
            let syncing = scope.spawn(move || {
                while is_written.recv_timeout(SYNC_EVERY) == Err(RecvTimeoutError::Timeout) {
                    self.file.sync_data()?;
                }
                Ok(())
            });
            let outcome = write();
            drop(written);
            // The thread has nothing in it that panics.
            syncing.join().unwrap_or(Ok(())).map(|()| outcome)
        })
    }

    /// Returns when all of it is on the disk, under the name that it has until it is finished.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        sync_directory(&self.path)
    }

    /// Puts it into its place. Only if `replace` says so, in place of what is there; else that is
    /// [`ErrorKind::AlreadyExists`].
    pub(super) fn finish(self, place: &Path, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if !is_at(&self.file, &self.path)? {
            return Err(in_use(&self.path));
        }
        if replace {
            std::fs::rename(&self.path, place)?;
        } else {
            // A link is never made over a file, and a rename may be.
            match std::fs::hard_link(&self.path, place) {
                Ok(()) => std::fs::remove_file(&self.path)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
                // A file system without links.
                Err(_) if place.symlink_metadata().is_ok() => {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                Err(_) => std::fs::rename(&self.path, place)?,
            }
        }
        sync_directory(place)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` there is nothing of this name, or somebody else's.
        if is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes what a process left that is gone.
fn clear_away(path: &Path) -> io::Result<()> {
    let left = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
    {
        Ok(left) => left,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    lock(&left, path)?;
    // It may have been finished, and another begun, between opening and locking it.
    if !is_at(&left, path)? {
        return Err(in_use(path));
    }
    std::fs::remove_file(path)
}

fn lock(file: &File, path: &Path) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => in_use(path),
        TryLockError::Error(error) => error,
    })
}

fn in_use(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::new(
        ErrorKind::ResourceBusy,
        format!("another process is writing {path}"),
    )
}

/// Whether this is the file of that name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns when the names in a file's directory are on the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
