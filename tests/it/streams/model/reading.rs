//! What readers do: their devices come and go, catch up, and mark read.

use serde_json::{Value, json};

use super::device::{Cursor, Device};
use super::plan::{DEVICES, From, To, USERS};
use super::world::World;

impl World {
    pub async fn catch_up(&mut self, user: usize) {
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

    /// What a reader is told who asks.
    async fn told(&self, user: usize, path: &str) -> Value {
        let (name, roles) = USERS[user];
        let hub = self.hub();
        let response = hub
            .client()
            .get(hub.url(path))
            .bearer_auth(hub.token(name, roles, &[]))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.expect("JSON")
    }

    pub async fn check_unread(&self, user: usize) {
        let status = self.told(user, "/notifications/status").await;
        let unread = self.model.unread(user);
        assert_eq!(status["unread"], unread, "unread by {}", USERS[user].0);
    }

    /// Every page of an inbox, each with the count; and what is first and last in it by itself.
    pub async fn list(&self, user: usize, limit: usize, unread: bool) {
        let path = format!("/notifications?limit={limit}&unread={unread}");
        let (mut listed, mut before) = (Vec::new(), String::new());
        loop {
            let page = self.told(user, &format!("{path}{before}")).await;
            assert_eq!(page["unread"], self.model.unread(user), "{page}");
            let items = page["notifications"].as_array().expect("a list");
            assert!(items.len() <= limit, "{page}");
            listed.extend(items.iter().cloned());
            match page["nextCursor"].as_str() {
                Some(cursor) => before = format!("&before={cursor}"),
                None => break,
            }
        }
        let due = self.model.inbox(user).into_iter();
        let due = due.filter(|(_, read)| !(unread && *read));
        let due: Vec<Value> = due
            .map(|(position, read)| {
                let entry = self.model.entry(position);
                let event_id = format!("{}-{position}", self.epoch);
                json!([event_id, entry.id, entry.message, entry.reference, read])
            })
            .collect();
        let told: Vec<Value> = listed
            .iter()
            .map(|item| {
                let fields = ["eventId", "notificationId", "message", "reference", "read"];
                json!(fields.map(|field| &item[field]))
            })
            .collect();
        assert_eq!(told, due, "the inbox of {}", USERS[user].0);
        for item in listed.first().into_iter().chain(listed.last()) {
            let id = item["notificationId"].as_str().expect("an id");
            assert_eq!(
                self.told(user, &format!("/notifications/{id}")).await,
                *item
            );
        }
    }

    pub async fn connect(&mut self, device: usize, from: &From) {
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

    pub async fn leave(&mut self, device: usize, read: bool) {
        if read && self.devices[device].is_some() {
            self.catch_up(DEVICES[device]).await;
        }
        if let Some(gone) = self.devices[device].take() {
            self.cursors[device] = gone.cursor();
            gone.drop_unread(&mut self.model);
        }
    }

    pub async fn resume(&mut self, user: usize, which: usize) {
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

    pub async fn as_reader(&self, user: usize, path: &str, body: &Value) -> (u16, Value) {
        let (name, roles) = USERS[user];
        let hub = self.hub();
        let token = hub.token(name, roles, &[]);
        let response = hub.client().post(hub.url(path)).bearer_auth(token);
        let response = response.json(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub async fn read(&mut self, user: usize, which: usize) {
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

    pub async fn read_all(&mut self, user: usize, upto: Option<usize>) {
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
}
