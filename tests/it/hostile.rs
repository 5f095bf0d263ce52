//! Connections that mean harm, or look as if they did: each is refused or costs no more than its bound, what it says is
//! read in one way only, and real users notice nothing.

mod bodies;
mod crowd;
mod injection;
mod slow;
mod smuggling;

use campanile::config::Config;
use serde_json::json;

use crate::support::{EventStream, TestHub, Wire, soon};

/// A hub with a real user on it, who must notice nothing.
struct Besieged {
    hub: TestHub,
    user: EventStream,
    served: usize,
}

impl Besieged {
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let hub = TestHub::with(change).await;
        let user = hub.stream("real", &[]).await;
        Self {
            hub,
            user,
            served: 0,
        }
    }

    /// That a publisher who has nothing to do with it is accepted, and a user who has nothing to do with it served, with
    /// this and nothing else.
    async fn serves(&mut self) {
        self.served += 1;
        let message = format!("real {}", self.served);
        self.hub
            .publish(json!({"targetUserId": "real", "message": message}))
            .await;
        self.user.expect_next_message(&message).await;
    }

    async fn stop(mut self) {
        self.serves().await;
        self.hub.stop().await;
    }
}

/// The statuses of all answers in what came back on a connection, in order.
fn statuses(answer: &str) -> Vec<u16> {
    let parts = answer.split("HTTP/1.1 ").skip(1);
    parts
        .map(|part| part[..3].parse().unwrap_or_else(|_| panic!("{answer}")))
        .collect()
}

/// Sends bytes, and returns what comes until the hub closes, which it must.
async fn said(hub: &TestHub, bytes: &str) -> String {
    let mut wire = Wire::to(hub.addr()).await;
    wire.send(bytes).await;
    soon("the hub to close", wire.rest()).await
}
