//! A hub that is gone from one moment to the next, with what its disk held at that moment.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::{Stopped, TestHub};

impl TestHub {
    /// The file of its store.
    pub fn database(&self) -> std::path::PathBuf {
        self.config.serve.database_path()
    }

    /// Takes a copy of its files between two commits, as they would be found after a crash there. What the hub does after
    /// that never happened: let go of its streams in `and_then`, before it can do anything.
    pub async fn crash(mut self, and_then: impl FnOnce()) -> Stopped {
        let frozen = Connection::open(self.database()).expect("the file");
        frozen
            .busy_timeout(super::PATIENCE)
            .and_then(|()| frozen.execute_batch("BEGIN IMMEDIATE"))
            .expect("a moment between two commits");
        let data = Arc::new(tempfile::tempdir().expect("a directory"));
        let mut config = self.config.clone();
        config.serve.data = data.path().join("data");
        copy(&self.config.serve.data, &config.serve.data);
        and_then();
        drop(frozen);
        self.stop_now().await;
        Stopped {
            data,
            config,
            way: self.road.way,
            pem: self.road.pem.clone(),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for file in std::fs::read_dir(from).expect("a directory") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

impl Stopped {
    /// The file of its store.
    pub fn database(&self) -> std::path::PathBuf {
        self.config.serve.database_path()
    }
}
