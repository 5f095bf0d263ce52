//! Where streams begin, many at a time: one snapshot to look, and one commit for what is to be written before they do.

use std::sync::Arc;

use super::failure::Failure;
use super::pages::{self, Beginning};
use super::{SqliteStore, deliveries, reading};
use crate::store::{Start, StartQuery, StoreError};

/// What is to be written before a stream begins.
struct Due {
    query: StartQuery,
    beginning: Beginning,
}

impl Beginning {
    fn is_to_be_written(&self) -> bool {
        self.first_visit.is_some() || self.reopened || self.unproven
    }
}

/// Answers each query in turn.
pub(super) async fn start(
    store: &SqliteStore,
    queries: Arc<[StartQuery]>,
) -> Vec<Result<Start, StoreError>> {
    let mut starts = Vec::with_capacity(queries.len());
    let mut due = Vec::new();
    let mut again = Vec::new();
    for (index, found) in look(store, Arc::clone(&queries))
        .await
        .into_iter()
        .enumerate()
    {
        starts.push(
            found
                .as_ref()
                .map(|found| found.start.clone())
                .map_err(StoreError::clone),
        );
        if let (Ok(beginning), Some(query)) = (found, queries.get(index))
            && beginning.is_to_be_written()
        {
            if beginning.reopened {
                again.push((index, query.clone()));
            }
            due.push((
                index,
                Due {
                    query: query.clone(),
                    beginning,
                },
            ));
        }
    }
    for (index, error) in write(store, due).await {
        if let Some(start) = starts.get_mut(index) {
            *start = Err(error);
        }
    }
    // What a place has settled is owed no longer.
    let (indices, queries): (Vec<usize>, Vec<StartQuery>) = again.into_iter().unzip();
    if !queries.is_empty() {
        for (index, found) in indices.into_iter().zip(look(store, queries.into()).await) {
            if let Some(start) = starts.get_mut(index)
                && start.is_ok()
            {
                *start = found.map(|found| found.start);
            }
        }
    }
    starts
}

/// Looks at all of them in one snapshot.
async fn look(
    store: &SqliteStore,
    queries: Arc<[StartQuery]>,
) -> Vec<Result<Beginning, StoreError>> {
    let count = queries.len();
    let found = store
        .readers
        .ask(move |c| {
            Ok(queries
                .iter()
                .map(|query| pages::start(c, query))
                .collect::<Vec<_>>())
        })
        .await;
    match found {
        Ok(found) => found
            .into_iter()
            .map(|found| store.health.read(found))
            .collect(),
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

/// Writes for all of them in one commit; if that fails, for each by itself, so that nobody fails for somebody else. Those that
/// failed.
async fn write(store: &SqliteStore, due: Vec<(usize, Due)>) -> Vec<(usize, StoreError)> {
    if due.is_empty() {
        return Vec::new();
    }
    let due: Arc<[(usize, Due)]> = due.into();
    let all = Arc::clone(&due);
    let together = store
        .write(move |c| all.iter().try_for_each(|(_, due)| settle(c, due)))
        .await;
    let Err(error) = together else {
        return Vec::new();
    };
    if let [(index, _)] = *due {
        return vec![(index, error)];
    }
    let mut failed = Vec::new();
    for at in 0..due.len() {
        let all = Arc::clone(&due);
        let alone = store
            .write(move |c| all.get(at).map_or(Ok(()), |(_, due)| settle(c, due)))
            .await;
        if let (Err(error), Some((index, _))) = (alone, due.get(at)) {
            failed.push((*index, error));
        }
    }
    failed
}

fn settle(connection: &rusqlite::Connection, due: &Due) -> Result<(), Failure> {
    let Due { query, beginning } = due;
    if let Some(first) = beginning.first_visit {
        reading::visit(connection, &query.viewer.user, first)?;
    }
    if beginning.reopened {
        let keys = pages::keys(&query.viewer);
        deliveries::settle_reopened(connection, &keys, beginning.start.place, query.now)?;
    }
    if beginning.unproven {
        deliveries::leave_owed(connection, &pages::own_key(&query.viewer), query.head)?;
    }
    Ok(())
}
