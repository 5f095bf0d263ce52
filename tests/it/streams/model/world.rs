//! The steps of a plan, carried out on a hub and on the model next to it.

use std::time::{Duration, Instant};

use campanile::clock::Timestamp;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Stopped, TestHub};

use super::device::Device;
use super::file;
use super::plan::{Ask, DEVICES, From, PASSES, Step, To, USERS};
use super::publishing::{ask, path, with_key};
use super::rules::{Model, Request};

/// A hub and its model.
pub struct World {
    pub hub: Option<TestHub>,
    pub model: Model,
    pub epoch: String,
    pub devices: [Option<Device>; DEVICES.len()],
    /// Where each device was when it last went.
    pub cursors: [Option<u64>; DEVICES.len()],
    /// What was asked under keys.
    pub keyed: Vec<Request>,
    /// Numbers for messages and for keys that nobody else has.
    pub number: usize,
}

impl World {
    pub async fn begin(recent_bytes: usize) -> Self {
        let hub = TestHub::with(|config| {
            config.stream.recent_bytes = recent_bytes;
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

    pub fn hub(&self) -> &TestHub {
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
            Step::List(user, limit, unread) => self.list(user, limit, unread).await,
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
        for (device, user) in DEVICES.into_iter().enumerate() {
            self.connect(device, &From::Cursor).await;
            self.catch_up(user).await;
            self.leave(device, true).await;
            self.list(user, 50, false).await;
        }
        self.hub()
            .until("an end of asking", |status| status["queue"]["pending"] == 0)
            .await;
        let stopped = self.stop().await;
        file::check(&stopped.database(), &self.model);
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
        for (user, listening) in listening.into_iter().enumerate() {
            if listening {
                let lost = self.model.log_of(user, head, self.model.head());
                self.model.lose(user, lost);
            }
            self.check_unread(user).await;
        }
        self.keyed.extend(requests);
    }
}
