//! The threads that read. In WAL mode they see whole commits, wait for no writer, and keep none waiting.
//!
//! Every question is one short transaction that ends with its answer: a reader that held its snapshot open would
//! keep the write-ahead log from being cut back.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::failure::{Failure, Health, closed};
use super::threads::{Feed, spawn};
use crate::store::StoreError;

/// How many questions wait in the channel. Whoever comes then waits outside it, one question for each stream or request.
const MAX_WAITING: usize = 256;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The way to ask.
pub(super) struct Readers {
    feed: Feed<Question>,
    room: Arc<Semaphore>,
    health: Arc<Health>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(
        connections: Vec<Connection>,
        health: Arc<Health>,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (feed, questions) = Feed::new(MAX_WAITING);
        let questions = Arc::new(Mutex::new(questions));
        let threads: std::io::Result<Vec<JoinHandle<()>>> = connections
            .into_iter()
            .enumerate()
            .map(|(i, connection)| {
                let questions = questions.clone();
                spawn(
                    &format!("campanile-reader-{i}"),
                    health.clone(),
                    move || {
                        while let Some(question) = next(&questions) {
                            question(&connection);
                        }
                    },
                )
            })
            .collect();
        let readers = Self {
            feed,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            health,
        };
        Ok((readers, threads?))
    }

    /// Asks a question, in a snapshot of its own. One whose asker is gone by the time is not looked up.
    pub(super) async fn ask<T, Q>(&self, question: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|_| closed())?;
        let health = self.health.clone();
        let (answer, answered) = oneshot::channel();
        self.feed.send(Box::new(move |connection| {
            drop(room);
            if !answer.is_closed() {
                let _ = answer.send(health.read(in_a_snapshot(connection, question)));
            }
        }))?;
        answered.await.map_err(|_| closed())?
    }

    /// Answers what is asked already and ends.
    pub(super) fn close(&self) {
        self.feed.close();
    }
}

fn next(questions: &Mutex<Receiver<Question>>) -> Option<Question> {
    let questions = questions.lock().unwrap_or_else(PoisonError::into_inner);
    questions.recv().ok()
}

fn in_a_snapshot<T>(
    connection: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Dropped without a commit, which ends it: there is nothing to commit.
    let snapshot = connection.unchecked_transaction()?;
    question(&snapshot)
}
