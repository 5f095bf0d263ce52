//! Somebody's stream: what it was sent, held to what the model says that it must be.

use crate::support::{Event, EventStream, Open, TestHub};

use super::plan::USERS;
use super::rules::Model;

/// An open stream.
pub struct Device {
    user: usize,
    stream: EventStream,
    /// Everything of the log up to here has been read.
    place: u64,
    /// Owed by name when it was opened, and not read yet.
    owed: Vec<u64>,
    /// Ephemeral ones, as they came: the head of the log when each was published.
    pub passed: Vec<(u64, String)>,
}

/// How a stream is opened.
#[derive(Clone, Copy)]
pub enum Cursor {
    None,
    Garbage,
    At(u64),
}

impl Device {
    /// Opens a stream, and holds its first words to what the model says of them.
    pub async fn open(
        hub: &TestHub,
        model: &mut Model,
        epoch: &str,
        user: usize,
        cursor: Cursor,
    ) -> Self {
        let (name, roles) = USERS[user];
        let open = Open {
            last_event_id: match cursor {
                Cursor::None => None,
                Cursor::Garbage => Some("garbage".to_owned()),
                Cursor::At(position) => Some(format!("{epoch}-{position}")),
            },
            ..Open::default()
        };
        let mut stream = hub.open_stream(&hub.token(name, roles, &[]), open).await;
        let connected = stream.connected.clone();
        let from = match connected.position() {
            Some(place) => place,
            None => {
                let gap = stream.next().await;
                assert_eq!(gap.kind(), "gap", "{gap:?}");
                let why = gap.data["data"]["scope"].clone();
                match cursor {
                    Cursor::Garbage => assert_eq!(why, "epoch"),
                    Cursor::At(place) => {
                        assert_eq!(why, "inbox");
                        assert!(place < model.floors.1, "a gap at {place}: {gap:?}");
                    }
                    Cursor::None => {
                        assert_eq!(why, "inbox");
                        assert!(model.floors.1 > 0, "a gap without a cursor: {gap:?}");
                    }
                }
                let place = gap.position().expect("a place to go on from");
                model.gap(user, place);
                place
            }
        };
        assert!(from <= model.head(), "{from} is past the log");
        match (cursor, connected.position()) {
            (Cursor::At(place), Some(from)) => {
                assert_eq!(from, place, "a stream begins at its cursor");
                assert!(place >= model.floors.1, "no gap at {place}");
                let missed = connected.data["data"]["broadcastsMissed"] == true;
                assert_eq!(missed, place < model.floors.0, "{connected:?}");
            }
            (Cursor::Garbage, place) => assert_eq!(place, None, "garbage is a gap"),
            _ => {}
        }
        let owed = model.owed(user, from);
        let person = &model.people[user];
        if let (Cursor::None, Some(since)) = (cursor, person.since) {
            // Without a cursor it goes on where the user was last served: nothing that they have not had lies before.
            let passed_over: Vec<u64> = model
                .log_of(user, since, from)
                .into_iter()
                .filter(|p| {
                    !person.had.contains(p) && !person.unsure.contains(p) && !owed.contains(p)
                })
                .filter(|p| !(model.may_be_owed(user, *p)))
                .collect();
            assert!(
                passed_over.is_empty(),
                "{name} goes on from {from} and never had {passed_over:?}"
            );
        }
        let person = &mut model.people[user];
        person.since.get_or_insert(from);
        person.ids.insert(from);
        Self {
            user,
            stream,
            place: from,
            owed,
            passed: Vec::new(),
        }
    }

    /// Where a resume begins.
    pub fn cursor(&self) -> Option<u64> {
        let (_, position) = self.stream.last_id.as_deref()?.split_once('-')?;
        position.parse().ok()
    }

    /// Reads up to this entry: exactly what the model says, in order.
    pub async fn read_to(&mut self, model: &mut Model, upto: u64) {
        for position in model.log_of(self.user, self.place, upto) {
            loop {
                let event = self.stream.notification().await;
                if event.id.is_none() {
                    self.without_id(model, &event);
                    continue;
                }
                assert_eq!(
                    event.position(),
                    Some(position),
                    "{} is after {} and is due {position}, but was sent {event:?}",
                    USERS[self.user].0,
                    self.place
                );
                self.with_id(model, &event, position);
                break;
            }
        }
        self.place = self.place.max(upto);
        assert_eq!(
            self.owed, [0; 0],
            "owed to {} and not sent",
            USERS[self.user].0
        );
    }

    /// Reads what is left before an orderly end: a part of what the model says, in order.
    pub async fn read_to_the_end(mut self, model: &mut Model) -> Option<u64> {
        let mut due = model
            .log_of(self.user, self.place, model.head())
            .into_iter();
        loop {
            let event = self.stream.next().await;
            match event.kind() {
                "bye" => break,
                "notification" if event.id.is_none() => self.without_id(model, &event),
                "notification" => {
                    let position = due.next();
                    assert_eq!(event.position(), position, "{event:?}");
                    self.with_id(model, &event, position.expect("one that is due"));
                }
                "status" | "heartbeat" => {}
                other => panic!("{other}: {event:?}"),
            }
        }
        assert_eq!(
            self.stream.try_next().await,
            None,
            "something after the bye"
        );
        self.cursor()
    }

    fn with_id(&mut self, model: &mut Model, event: &Event, position: u64) {
        let entry = model.entry(position);
        let content = &event.data["data"];
        assert_eq!(event.message(), entry.message, "position {position}");
        assert_eq!(event.data["notificationId"].as_str(), entry.id.as_deref());
        assert_eq!(content["reference"].as_str(), entry.reference.as_deref());
        for secret in [
            "idempotencyKey",
            "throttle",
            "publisher",
            "targetUserId",
            "targetRoles",
        ] {
            assert!(content.get(secret).is_none(), "{event:?}");
        }
        self.place = position;
        let person = &mut model.people[self.user];
        person.ids.insert(position);
        person.had.insert(position);
    }

    /// What comes without an id is owed from before, or ephemeral.
    fn without_id(&mut self, model: &mut Model, event: &Event) {
        let id = event.data["notificationId"].as_str();
        let Some(index) = model.log.iter().position(|entry| entry.id.as_deref() == id) else {
            let message = event.message().to_owned();
            let after = message.strip_prefix("passing after ");
            let after = after.and_then(|text| text.split(' ').next()?.parse().ok());
            let after = after.unwrap_or_else(|| panic!("nobody published {event:?}"));
            assert!(
                model.log_of(self.user, self.place, after).is_empty(),
                "{message:?} came before what was published before it"
            );
            assert!(
                self.place <= after,
                "{message:?} came late, at {}",
                self.place
            );
            assert!(
                !self.passed.iter().any(|(_, earlier)| *earlier == message),
                "{message:?} came twice"
            );
            self.passed.push((after, message));
            return;
        };
        let position = index as u64 + 1;
        assert!(
            position <= self.place && model.may_be_owed(self.user, position),
            "position {position} was not owed to {}",
            USERS[self.user].0
        );
        self.owed.retain(|owed| *owed != position);
        model.people[self.user].had.insert(position);
    }

    /// The connection is dropped with whatever is on its way.
    pub fn drop_unread(self, model: &mut Model) {
        let on_its_way = model.log_of(self.user, self.place, model.head());
        model.lose(self.user, on_its_way);
        model.lose(self.user, self.owed);
    }
}
