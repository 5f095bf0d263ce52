//! kill -9 under publishers that ask again under their keys, and readers that resume: nothing lost, nothing twice.
//!
//! `CAMPANILE_TEST_KILLS` says how often it is killed (5).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{BinaryHub, EventStream, Open, soon, token};

const PUBLISHERS: usize = 4;
/// Every so many requests one is a batch, of so many drafts.
const BATCH_EVERY: usize = 4;
const BATCH: usize = 3;

/// One draft under a key, which is its message too.
fn draft(key: &str) -> Value {
    json!({"targetUserId": "ann", "targetRoles": ["CREW"], "message": key, "idempotencyKey": key})
}

/// What a publisher was told of a key.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    position: u64,
    id: String,
}

fn told(answer: &Value) -> Told {
    let (_, position) = answer["eventId"].as_str().unwrap().split_once('-').unwrap();
    Told {
        position: position.parse().unwrap(),
        id: answer["notificationId"].as_str().unwrap().to_owned(),
    }
}

/// Somebody who publishes one request after the other and gives up none.
struct Publisher {
    number: usize,
    token: String,
    client: reqwest::Client,
    next: usize,
    /// Asked, and not answered.
    open: VecDeque<Vec<String>>,
    told: BTreeMap<String, Told>,
    /// Asked again after a kill, and found to be made by then.
    found: usize,
    /// Asked again after a kill, and made only then.
    remade: usize,
}

impl Publisher {
    /// Publishes until the hub is gone.
    async fn publish(&mut self, base: &str) {
        // What was answered before the kill has the same answer still.
        for (key, told_before) in self.told.clone().into_iter().rev().take(3) {
            match self.ask(base, std::slice::from_ref(&key)).await {
                Some(answers) => assert_eq!(answers, [(200, told_before)], "{key}"),
                None => return,
            }
        }
        let mut again = self.open.len();
        loop {
            if self.open.is_empty() {
                self.next += 1;
                let size = if self.next.is_multiple_of(BATCH_EVERY) {
                    BATCH
                } else {
                    1
                };
                let key = |part| format!("{}:{:05}:{part}", self.number, self.next);
                self.open.push_back((0..size).map(key).collect());
            }
            let keys = self.open[0].clone();
            let Some(answers) = self.ask(base, &keys).await else {
                return;
            };
            self.open.pop_front();
            let made = answers.iter().filter(|(status, _)| *status == 201).count();
            assert!(
                made == 0 || made == keys.len(),
                "half a batch was there: {answers:?}"
            );
            if again > 0 {
                again -= 1;
                self.found += keys.len() - made;
                self.remade += made;
            } else {
                assert_eq!(made, keys.len(), "{answers:?}");
            }
            for (key, (_, told)) in keys.into_iter().zip(answers) {
                assert_eq!(self.told.insert(key, told), None);
            }
        }
    }

    /// Status and answer for each key; none if the hub did not answer.
    async fn ask(&self, base: &str, keys: &[String]) -> Option<Vec<(u64, Told)>> {
        let drafts: Vec<Value> = keys.iter().map(|key| draft(key)).collect();
        let (path, body) = match drafts.as_slice() {
            [only] => ("/notifications", only.clone()),
            several => ("/notifications/batch", json!(several)),
        };
        let request = self.client.post(format!("{base}{path}"));
        let request = request.bearer_auth(&self.token).json(&body);
        let response = request.send().await.ok()?;
        let status = u64::from(response.status().as_u16());
        let answer: Value = response.json().await.ok()?;
        match answer["results"].as_array() {
            None => Some(vec![(status, told(&answer))]),
            Some(results) => {
                let each = |result: &Value| {
                    (
                        result["status"].as_u64().unwrap(),
                        told(&result["notification"]),
                    )
                };
                Some(results.iter().map(each).collect())
            }
        }
    }
}

/// Somebody who resumes from their last id, and what they have.
struct Reader {
    token: String,
    cursor: Option<String>,
    have: BTreeMap<u64, String>,
}

impl Reader {
    async fn open(&mut self, hub: &BinaryHub) -> EventStream {
        let open = Open {
            last_event_id: self.cursor.clone(),
            ..Open::default()
        };
        let stream = EventStream::open(hub.addr(), &self.token, open).await;
        self.cursor = stream.last_id.clone();
        stream
    }

    /// Reads so many, or up to the message that ends it.
    async fn read(&mut self, stream: &mut EventStream, count: usize, end: &str) {
        for _ in 0..count {
            let event = stream.notification().await;
            let position = event
                .position()
                .expect("nothing is owed to whoever resumes");
            self.cursor = event.id.clone();
            if event.message() == end {
                return;
            }
            let last = self.have.last_key_value().map(|(last, _)| *last);
            assert!(last < Some(position), "{position} came after {last:?}");
            self.have.insert(position, event.message().to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_ask_again_under_their_keys_lose_nothing_and_make_nothing_twice() {
    let kills = std::env::var("CAMPANILE_TEST_KILLS");
    let kills: usize = kills.map_or(5, |text| text.parse().expect("a number"));
    let data = tempfile::tempdir().unwrap();
    let mut readers = Vec::new();
    for (user, role) in [("ann", "NONE"), ("bob", "CREW")] {
        readers.push(Reader {
            token: token(&data, user, &["--role", role]).await,
            cursor: None,
            have: BTreeMap::new(),
        });
    }
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        let name = format!("backend-{number}");
        publishers.push(Publisher {
            number,
            token: token(&data, &name, &["--scope", "publish"]).await,
            client: reqwest::Client::new(),
            next: 0,
            open: VecDeque::new(),
            told: BTreeMap::new(),
            found: 0,
            remade: 0,
        });
    }
    for round in 0..=kills {
        let hub = BinaryHub::serve(data.path(), &["--start-grace", "0s"]).await;
        let mut streams = Vec::new();
        for reader in &mut readers {
            streams.push(reader.open(&hub).await);
        }
        if round == kills {
            // The last word: whatever was not answered yet, and then the marker.
            for publisher in &mut publishers {
                while let Some(keys) = publisher.open.pop_front() {
                    let answers = publisher.ask(&hub.base, &keys).await.expect("answers");
                    for (key, (status, told)) in keys.into_iter().zip(answers) {
                        *if status == 200 {
                            &mut publisher.found
                        } else {
                            &mut publisher.remade
                        } += 1;
                        assert_eq!(publisher.told.insert(key, told), None);
                    }
                }
            }
            publishers[0]
                .ask(&hub.base, &["marker".to_owned()])
                .await
                .expect("an answer");
            for (reader, stream) in readers.iter_mut().zip(&mut streams) {
                reader.read(stream, usize::MAX, "marker").await;
            }
            drop(streams);
            assert_eq!(hub.terminate().await, Some(0));
            break;
        }
        let base = hub.base.clone();
        let publishing: Vec<_> = publishers
            .drain(..)
            .map(|mut publisher| {
                let base = base.clone();
                tokio::spawn(async move {
                    publisher.publish(&base).await;
                    publisher
                })
            })
            .collect();
        // One reader says when; the other is somewhere behind.
        let (first, second) = (round % 2, (round + 1) % 2);
        readers[second]
            .read(&mut streams[second], round * 11 % 23, "")
            .await;
        readers[first]
            .read(&mut streams[first], 10 + round * 29 % 71, "")
            .await;
        hub.kill().await;
        for publisher in publishing {
            publishers.push(
                soon("the publisher's end", publisher)
                    .await
                    .expect("no panic"),
            );
        }
    }

    let mut made: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for publisher in &publishers {
        let mut last = 0;
        for (key, told) in &publisher.told {
            // Keys are in the order in which they were asked for.
            assert!(
                told.position > last,
                "{key} stands before the one before it"
            );
            last = told.position;
            let earlier = made.insert(told.position, (key.clone(), told.id.clone()));
            assert_eq!(earlier, None, "position {} was given twice", told.position);
        }
    }
    for reader in &readers {
        let due: BTreeMap<u64, String> = made
            .iter()
            .map(|(position, (key, _))| (*position, key.clone()))
            .collect();
        assert_eq!(reader.have, due);
    }
    let stored = stored(&data.path().join("campanile.db"));
    let ids: BTreeSet<&str> = stored.iter().map(|(_, _, id)| id.as_str()).collect();
    assert_eq!(ids.len(), stored.len());
    let due: Vec<(u64, String, String)> = made
        .iter()
        .map(|(position, (key, id))| (*position, key.clone(), id.clone()))
        .collect();
    assert_eq!(
        stored, due,
        "the log is what was answered, and nothing else"
    );
    let sum = |of: fn(&Publisher) -> usize| publishers.iter().map(of).sum::<usize>();
    println!(
        "{kills} kills: {} acknowledged, each read twice, 0 lost, 0 doubled; asked again {}: {} were made before, {} were not",
        made.len(),
        sum(|p| p.found + p.remade),
        sum(|p| p.found),
        sum(|p| p.remade),
    );
    assert!(made.len() > kills * 10);
    assert!(
        sum(|p| p.found + p.remade) > 0,
        "no request was ever cut off"
    );
}

/// The log but for the marker: position, message, id.
fn stored(file: &std::path::Path) -> Vec<(u64, String, String)> {
    let file = Connection::open(file).expect("the file");
    let mut log = file
        .prepare("SELECT position, json_extract(body, '$.message'), lower(hex(id)) FROM entry ORDER BY position")
        .expect("a statement");
    let rows = log.query_map([], |row| {
        let id: String = row.get(2)?;
        let id = uuid::Uuid::parse_str(&id).expect("an id").to_string();
        Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, id))
    });
    let rows: Vec<(u64, String, String)> = rows.expect("rows").collect::<Result<_, _>>().unwrap();
    rows.into_iter()
        .filter(|(_, message, _)| message != "marker")
        .collect()
}
