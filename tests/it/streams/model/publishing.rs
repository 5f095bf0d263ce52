//! What publishers do, and what they must be answered.

use std::time::Duration;

use campanile::clock::Timestamp;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::TestHub;

use super::plan::{Ask, EXPIRES, Item, PUBLISHERS, ROLES, To, USERS, WINDOWS, Wanted};
use super::rules::{Due, Reference, Request};
use super::world::World;

const PREFIXES: [&str; 2] = ["A", "B"];

impl World {
    pub fn request(&mut self, ask: Ask) -> Request {
        self.number += 1;
        let mut draft = json!({"message": format!("n{}", self.number)});
        if ask.to.everyone {
            draft["everyone"] = json!(true);
        }
        if !ask.to.users.is_empty() {
            let users: Vec<&str> = ask.to.users.iter().map(|user| USERS[*user].0).collect();
            draft["targetUserIds"] = json!(users);
        }
        if !ask.to.roles.is_empty() {
            let roles: Vec<&str> = ask.to.roles.iter().map(|role| ROLES[*role]).collect();
            draft["targetRoles"] = json!(roles);
        }
        let throttle = ask.throttle.map(|(key, which)| {
            draft["throttle"] =
                json!({"key": format!("t{key}"), "window": format!("{}m", WINDOWS[which])});
            (format!("t{key}"), WINDOWS[which])
        });
        let reference = ask.reference.map(|wanted| match wanted {
            Wanted::Draw(prefix) => Reference::Draw(PREFIXES[prefix]),
            Wanted::Bring(which) => Reference::Bring(format!("own-{which}")),
            Wanted::Ahead(prefix, ahead) => {
                Reference::Bring(self.model.next_reference(PREFIXES[prefix], ahead as u64))
            }
        });
        match &reference {
            Some(Reference::Draw(prefix)) => draft["reference"] = json!({"prefix": prefix}),
            Some(Reference::Bring(reference)) => draft["reference"] = json!(reference),
            None => {}
        }
        let expires = ask.expires.map(|which| {
            let end = Timestamp::now().saturating_add(Duration::from_secs(EXPIRES[which] * 60));
            draft["expiresAt"] = json!(end.to_string());
            self.model.now + EXPIRES[which]
        });
        let request = Request {
            publisher: PUBLISHERS[ask.publisher],
            broadcast: ask.broadcast,
            draft,
            to: ask.to,
            key: ask.key.map(|key| format!("k{key}")),
            throttle,
            reference,
            expires,
            first: self.model.now,
        };
        if request.key.is_some() {
            self.keyed.push(request.clone());
        }
        request
    }

    /// One that was asked before, by whoever asks now if that is somebody else.
    pub fn earlier(&self, which: usize, by: Option<&'static str>) -> Option<Request> {
        let mut request = self.keyed.get(which % self.keyed.len().max(1))?.clone();
        request.publisher = by.unwrap_or(request.publisher);
        // Time passes for what is stored, and not for the moment that stands in a draft: it would be stored with another
        // one than the model's.
        let key = (request.publisher, request.key.clone()?);
        let is_another = request.expires.is_some()
            && request.first != self.model.now
            && !self.model.keys.contains_key(&key);
        (!is_another).then_some(request)
    }

    pub async fn publish(&mut self, request: Request) {
        let due = self.model.accept_all(std::slice::from_ref(&request))[0];
        let (status, answer) = ask(self.hub(), &request).await;
        self.check(due, status, &answer);
    }

    /// Holds an answer to what it had to be.
    pub fn check(&mut self, due: Due, status: u16, answer: &Value) {
        let (position, expected, throttled, duplicate) = match due {
            Due::Refused(refused) => return assert_eq!(status, refused, "{answer}"),
            Due::Collided => return assert_eq!(status, 503, "{answer}"),
            Due::Made(position) => (position, 201, false, false),
            Due::Earlier {
                position,
                throttled,
                duplicate,
            } => (position, 200, throttled, duplicate),
        };
        assert_eq!(status, expected, "{due:?} was answered {answer}");
        let id = answer["notificationId"].as_str().expect("an id").to_owned();
        if position == 1 {
            let event_id = answer["eventId"].as_str().expect("an event id");
            self.epoch = event_id.split_once('-').expect("an epoch").0.to_owned();
        }
        if status == 201 {
            let others = self
                .model
                .log
                .iter()
                .filter(|entry| entry.id.as_ref() == Some(&id));
            assert_eq!(others.count(), 0, "{id} is two notifications");
            self.model.entry_mut(position).id = Some(id.clone());
        }
        let entry = self.model.entry(position);
        assert_eq!(entry.id.as_ref(), Some(&id), "position {position}");
        assert_eq!(answer["eventId"], format!("{}-{position}", self.epoch));
        assert_eq!(answer["reference"].as_str(), entry.reference.as_deref());
        assert_eq!(answer["duplicate"], duplicate, "{answer}");
        assert_eq!(answer["throttled"] == true, throttled, "{answer}");
    }

    pub async fn batch(&mut self, publisher: usize, items: Vec<Item>) {
        let mut requests: Vec<Request> = Vec::new();
        for item in items {
            let request = match item {
                Item::New(ask) => Some(self.request(Ask {
                    publisher,
                    broadcast: false,
                    ..ask
                })),
                Item::Again(which) => {
                    let earlier = self.earlier(which, Some(PUBLISHERS[publisher]));
                    earlier.map(|earlier| Request {
                        broadcast: false,
                        ..earlier
                    })
                }
                Item::Twin => requests.last().cloned(),
            };
            requests.extend(request);
        }
        let drafts: Vec<Value> = requests.iter().map(with_key).collect();
        let due = self.model.accept_all(&requests);
        let path = "/notifications/batch";
        let (status, answer) = post(self.hub(), PUBLISHERS[publisher], path, &json!(drafts)).await;
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().expect("results").clone();
        assert_eq!(results.len(), due.len());
        // What was made is known by its answer, whichever of them came first.
        let order = |due: &Due| !matches!(due, Due::Made(_));
        let mut answered: Vec<(Due, Value)> = due.into_iter().zip(results).collect();
        answered.sort_by_key(|(due, _)| order(due));
        for (due, result) in answered {
            let status = result["status"].as_u64().expect("a status");
            self.check(
                due,
                status.try_into().expect("a status"),
                &result["notification"],
            );
        }
    }

    pub async fn at_once(&mut self, ask_for: Ask, times: usize) {
        let request = self.request(Ask {
            key: Some(ask_for.key.unwrap_or(0)),
            // Draws that cross each other would make the order matter.
            reference: None,
            ..ask_for
        });
        let mut due = self.model.accept_all(&vec![request.clone(); times]);
        let mut answers = join_all((0..times).map(|_| ask(self.hub(), &request))).await;
        // One of them was first, whichever.
        due.sort_unstable();
        answers.sort_by_key(|(status, answer)| (*status != 201, answer["duplicate"] == true));
        due.sort_by_key(|due| match due {
            Due::Made(_) => (false, false),
            Due::Earlier { duplicate, .. } => (true, *duplicate),
            Due::Refused(_) | Due::Collided => (true, false),
        });
        for (due, (status, answer)) in due.into_iter().zip(answers) {
            self.check(due, status, &answer);
        }
    }

    pub async fn pass(&mut self, to: &To) {
        self.number += 1;
        let mut request = self.request(Ask {
            publisher: 0,
            broadcast: false,
            to: to.clone(),
            key: None,
            throttle: None,
            reference: None,
            expires: None,
        });
        let head = self.model.head();
        request.draft["ephemeral"] = json!(true);
        request.draft["message"] = json!(format!("passing after {head} {}", self.number));
        let (status, answer) = ask(self.hub(), &request).await;
        assert_eq!(
            (status, &answer["eventId"]),
            (201, &Value::Null),
            "{answer}"
        );
    }

    /// Publishes something that only says how far a stream has come.
    pub async fn marker(&mut self, to: To) -> u64 {
        let request = self.request(Ask {
            publisher: 0,
            broadcast: true,
            to,
            key: None,
            throttle: None,
            reference: None,
            expires: None,
        });
        self.publish(request).await;
        self.model.head()
    }
}

pub fn with_key(request: &Request) -> Value {
    let mut draft = request.draft.clone();
    if let Some(key) = &request.key {
        draft["idempotencyKey"] = json!(key);
    }
    draft
}

pub fn path(request: &Request) -> &'static str {
    if request.broadcast {
        "/notifications/broadcast"
    } else {
        "/notifications"
    }
}

pub async fn ask(hub: &TestHub, request: &Request) -> (u16, Value) {
    post(hub, request.publisher, path(request), &with_key(request)).await
}

pub async fn post(hub: &TestHub, publisher: &str, path: &str, body: &Value) -> (u16, Value) {
    let response = hub
        .client()
        .post(hub.url(path))
        .bearer_auth(hub.token(publisher, &[], &["publish"]))
        .json(body)
        .send()
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}
