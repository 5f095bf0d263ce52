//! The steps of a plan, carried out on a hub and on the model next to it.

use std::time::{Duration, Instant};

use campanile::clock::Timestamp;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Stopped, TestHub};

use super::device::{Cursor, Device};
use super::file;
use super::plan::{
    Ask, DEVICES, EXPIRES, From, Item, PASSES, PUBLISHERS, ROLES, Step, To, USERS, WINDOWS, Wanted,
};
use super::rules::{Due, Model, Reference, Request};

const PREFIXES: [&str; 2] = ["A", "B"];

/// A hub and its model.
pub struct World {
    hub: Option<TestHub>,
    model: Model,
    epoch: String,
    devices: [Option<Device>; DEVICES.len()],
    /// Where each device was when it last went.
    cursors: [Option<u64>; DEVICES.len()],
    /// What was asked under keys.
    keyed: Vec<Request>,
    /// Numbers for messages and for keys that nobody else has.
    number: usize,
}

impl World {
    pub async fn begin() -> Self {
        let hub = TestHub::with(|config| {
            config.delivery.retry = vec![Duration::from_millis(10); 3];
        })
        .await;
        let now = Timestamp::now().to_string();
        let mut world = Self {
            hub: Some(hub),
            model: Model {
                month: format!("{}{}", &now[5..7], &now[2..4]),
                ..Model::default()
            },
            epoch: String::new(),
            devices: [const { None }; DEVICES.len()],
            cursors: [None; DEVICES.len()],
            keyed: Vec::new(),
            number: 0,
        };
        // Says what the epoch is.
        world
            .marker(To {
                users: Vec::new(),
                roles: vec![2],
                everyone: false,
            })
            .await;
        world
    }

    fn hub(&self) -> &TestHub {
        self.hub.as_ref().expect("a hub")
    }

    pub async fn take(&mut self, step: Step) {
        match step {
            Step::Publish(ask) => {
                let request = self.request(ask);
                self.publish(request).await;
            }
            Step::Again(which) => {
                if let Some(request) = self.earlier(which, None) {
                    self.publish(request).await;
                }
            }
            Step::Reuse(which) => {
                if let Some(mut request) = self.earlier(which, None) {
                    request.draft["message"] = json!("another");
                    self.publish(request).await;
                }
            }
            Step::Batch(publisher, items) => self.batch(publisher, items).await,
            Step::AtOnce(ask, times) => self.at_once(ask, times).await,
            Step::Ephemeral(to) => self.pass(&to).await,
            Step::Connect(device, from) => self.connect(device, &from).await,
            Step::Leave(device, read) => self.leave(device, read).await,
            Step::Resume(user, which) => self.resume(user, which).await,
            Step::Read(user, which) => self.read(user, which).await,
            Step::ReadAll(user, upto) => self.read_all(user, upto).await,
            Step::CatchUp(user) => self.catch_up(user).await,
            Step::TimePasses(which) => self.restart(Some(which)).await,
            Step::Restart => self.restart(None).await,
            Step::Crash(asks) => self.crash(asks).await,
        }
    }

    /// Nothing is left over: everybody has what is theirs, nobody is owed, and the file says the same.
    pub async fn end(mut self) {
        for device in 0..DEVICES.len() {
            self.connect(device, &From::Cursor).await;
            self.catch_up(DEVICES[device]).await;
            self.leave(device, true).await;
        }
        self.hub()
            .until("an end of asking", |status| status["queue"]["pending"] == 0)
            .await;
        let stopped = self.stop().await;
        file::check(&stopped.database(), &self.model);
    }

    fn request(&mut self, ask: Ask) -> Request {
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
    fn earlier(&self, which: usize, by: Option<&'static str>) -> Option<Request> {
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

    async fn publish(&mut self, request: Request) {
        let due = self.model.accept_all(std::slice::from_ref(&request))[0];
        let (status, answer) = ask(self.hub(), &request).await;
        self.check(due, status, &answer);
    }

    /// Holds an answer to what it had to be.
    fn check(&mut self, due: Due, status: u16, answer: &Value) {
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

    async fn batch(&mut self, publisher: usize, items: Vec<Item>) {
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

    async fn at_once(&mut self, ask_for: Ask, times: usize) {
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

    async fn pass(&mut self, to: &To) {
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
    async fn marker(&mut self, to: To) -> u64 {
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

    async fn catch_up(&mut self, user: usize) {
        let to = To {
            users: vec![user],
            roles: Vec::new(),
            everyone: false,
        };
        let marker = self.marker(to).await;
        for (device, owner) in self.devices.iter_mut().zip(DEVICES) {
            if let Some(device) = device.as_mut().filter(|_| owner == user) {
                device.read_to(&mut self.model, marker).await;
            }
        }
        self.check_unread(user).await;
    }

    async fn check_unread(&self, user: usize) {
        let (name, roles) = USERS[user];
        let hub = self.hub();
        let response = hub
            .client()
            .get(hub.url("/notifications/status"))
            .bearer_auth(hub.token(name, roles, &[]))
            .send()
            .await
            .expect("an answer");
        let status: Value = response.json().await.expect("JSON");
        assert_eq!(
            status["unread"],
            self.model.unread(user),
            "unread by {name}"
        );
    }

    async fn connect(&mut self, device: usize, from: &From) {
        let user = DEVICES[device];
        self.leave(device, true).await;
        self.catch_up(user).await;
        let cursor = match (from, self.cursors[device]) {
            (From::Cursor, Some(place)) => Cursor::At(place),
            (From::Garbage, _) => Cursor::Garbage,
            _ => Cursor::None,
        };
        let hub = self.hub.as_ref().expect("a hub");
        let opened = Device::open(hub, &mut self.model, &self.epoch, user, cursor).await;
        self.devices[device] = Some(opened);
    }

    async fn leave(&mut self, device: usize, read: bool) {
        if read && self.devices[device].is_some() {
            self.catch_up(DEVICES[device]).await;
        }
        if let Some(gone) = self.devices[device].take() {
            self.cursors[device] = gone.cursor();
            gone.drop_unread(&mut self.model);
        }
    }

    async fn resume(&mut self, user: usize, which: usize) {
        self.catch_up(user).await;
        let ids = &self.model.people[user].ids;
        let Some(place) = ids.iter().nth(which % ids.len().max(1)).copied() else {
            return;
        };
        let hub = self.hub.as_ref().expect("a hub");
        let mut probe =
            Device::open(hub, &mut self.model, &self.epoch, user, Cursor::At(place)).await;
        let upto = self.marker(To {
            users: vec![user],
            roles: Vec::new(),
            everyone: false,
        });
        let upto = upto.await;
        probe.read_to(&mut self.model, upto).await;
        probe.drop_unread(&mut self.model);
    }

    async fn as_reader(&self, user: usize, path: &str, body: &Value) -> (u16, Value) {
        let (name, roles) = USERS[user];
        let hub = self.hub();
        let token = hub.token(name, roles, &[]);
        let response = hub.client().post(hub.url(path)).bearer_auth(token);
        let response = response.json(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn read(&mut self, user: usize, which: usize) {
        let position = which as u64 % self.model.head() + 1;
        let id = self.model.entry(position).id.clone().expect("an id");
        let path = format!("/notifications/{id}/read");
        let (status, answer) = self.as_reader(user, &path, &json!({})).await;
        let theirs = self.model.in_inbox(user, position);
        assert_eq!(
            status,
            if theirs { 204 } else { 404 },
            "{position}: {answer}"
        );
        if theirs {
            self.model.people[user].read.insert(position);
        }
        self.check_unread(user).await;
    }

    async fn read_all(&mut self, user: usize, upto: Option<usize>) {
        let head = self.model.head();
        let upto = upto.map(|which| which as u64 % (head + 1));
        let body = match upto {
            Some(position) => json!({"upTo": format!("{}-{position}", self.epoch)}),
            None => json!({}),
        };
        let (status, answer) = self.as_reader(user, "/notifications/read-all", &body).await;
        assert_eq!(status, 204, "{answer}");
        let person = &mut self.model.people[user];
        person.read_upto = person.read_upto.max(upto.unwrap_or(head));
        self.check_unread(user).await;
    }

    /// Stops it in order: every stream is read to its end.
    async fn stop(&mut self) -> Stopped {
        let mut hub = self.hub.take().expect("a hub");
        hub.begin_to_stop();
        for (device, cursor) in self.devices.iter_mut().zip(&mut self.cursors) {
            if let Some(device) = device.take() {
                *cursor = device.read_to_the_end(&mut self.model).await;
            }
        }
        hub.stop().await
    }

    async fn restart(&mut self, passes: Option<usize>) {
        let stopped = self.stop().await;
        if let Some(which) = passes {
            file::make_older(&stopped.database(), PASSES[which]);
            self.model.pass(which);
        }
        self.start(stopped).await;
    }

    async fn start(&mut self, stopped: Stopped) {
        let hub = stopped.restart().await;
        // It prunes by itself as well, in its own time.
        while hub
            .hub()
            .prune(hub.hub().retention())
            .await
            .expect("pruned")
            .more
        {}
        self.hub = Some(hub);
    }

    async fn crash(&mut self, asks: Vec<Ask>) {
        let requests: Vec<Request> = asks
            .into_iter()
            .map(|ask| {
                let mut request = self.request(Ask {
                    key: None,
                    throttle: None,
                    reference: None,
                    ..ask
                });
                request.key = Some(format!("crash-{}", self.number));
                request
            })
            .collect();
        let head = self.model.head();
        let hub = self.hub.take().expect("a hub");
        let (client, url) = (hub.client().clone(), hub.url(""));
        let asked: Vec<_> = requests
            .iter()
            .map(|request| {
                let token = hub.token(request.publisher, &[], &["publish"]);
                let url = format!("{url}{}", path(request));
                let asked = client
                    .post(url)
                    .bearer_auth(token)
                    .json(&with_key(request))
                    .send();
                tokio::spawn(async move {
                    let answer: Value = asked.await.ok()?.json().await.ok()?;
                    Some((Instant::now(), answer))
                })
            })
            .collect();
        let mut listening = [false; USERS.len()];
        for (device, owner) in self.devices.iter().zip(DEVICES) {
            listening[owner] |= device.is_some();
        }
        let frozen = Instant::now();
        let (devices, cursors, model) = (&mut self.devices, &mut self.cursors, &mut self.model);
        let stopped = hub.crash(|| {
            for (device, cursor) in devices.iter_mut().zip(cursors) {
                if let Some(device) = device.take() {
                    *cursor = device.cursor();
                    device.drop_unread(model);
                }
            }
        });
        let stopped = stopped.await;
        let asked = join_all(asked).await;
        self.hub = Some(stopped.restart().await);

        // Whoever was not answered asks again, and what was answered before it happened is what it was.
        let mut answers = Vec::new();
        for (request, before) in requests.iter().zip(asked) {
            let (status, answer) = ask(self.hub(), request).await;
            if let Some((_, before)) = before.expect("no panic").filter(|(when, _)| *when < frozen)
            {
                assert_eq!(status, 200, "{before} is forgotten: {answer}");
                assert_eq!(answer["notificationId"], before["notificationId"]);
            }
            let event_id = answer["eventId"].as_str().expect("an event id");
            let (_, position) = event_id.split_once('-').expect("a position");
            let position: u64 = position.parse().expect("a position");
            answers.push((position, request, status, answer));
        }
        answers.sort_by_key(|(position, ..)| *position);
        for (_, request, status, answer) in answers {
            let due = self.model.accept_all(std::slice::from_ref(request))[0];
            // Under its own key it is made once, before the crash or after it.
            let mut made = answer.clone();
            made["duplicate"] = json!(false);
            assert!(status == 201 || answer["duplicate"] == true, "{answer}");
            self.check(due, 201, &made);
            if status == 200 {
                self.model.duplicates.push((self.model.now, true));
            }
        }
        // What was written to streams in the moments before, and never read, is known to their cursors alone.
        for user in 0..USERS.len() {
            if listening[user] {
                let lost = self.model.log_of(user, head, self.model.head());
                self.model.lose(user, lost);
            }
            self.check_unread(user).await;
        }
        self.keyed.extend(requests);
    }
}

fn with_key(request: &Request) -> Value {
    let mut draft = request.draft.clone();
    if let Some(key) = &request.key {
        draft["idempotencyKey"] = json!(key);
    }
    draft
}

fn path(request: &Request) -> &'static str {
    if request.broadcast {
        "/notifications/broadcast"
    } else {
        "/notifications"
    }
}

async fn ask(hub: &TestHub, request: &Request) -> (u16, Value) {
    post(hub, request.publisher, path(request), &with_key(request)).await
}

async fn post(hub: &TestHub, publisher: &str, path: &str, body: &Value) -> (u16, Value) {
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
