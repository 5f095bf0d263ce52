//! Each call on a webhook's way out fails once: it arrives all the same, and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use campanile::auth::{Authenticator, Secret};
use campanile::config::Config;
use campanile::notification::{Draft, Kind};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Opened, Store, WebhookQuery, WebhookState, WebhooksOf};
use campanile::webhooks::{Filter, On};
use campanile::{Hub, clock::Timestamp};
use futures::future::join_all;

use super::store::{Call, Faulty};
use crate::support::{Sink, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_call_fails_on_a_webhooks_way_it_arrives_once() {
    let calls = [
        (Call::ClaimWebhooks, 1),
        (Call::ClaimWebhooks, 2),
        (Call::BeginWebhook, 1),
        (Call::SettleWebhook, 1),
        (Call::SettleWebhook, 2),
    ];
    join_all(calls.map(|(call, time)| fails_once(call, time))).await;
}

async fn fails_once(call: Call, time: usize) {
    let data = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a block")];
    let Opened {
        store,
        committed,
        log,
    } = SqliteStore::open(&data.path().join("campanile.db"), SqliteOptions::default())
        .expect("the store opens");
    let faulty = Arc::new(Faulty {
        store,
        call,
        time,
        called: AtomicUsize::new(0),
    });
    let begun = Opened {
        store: Arc::clone(&faulty) as Arc<dyn Store>,
        committed,
        log,
    };
    let secret = Secret::load_or_create(&data.path().join("secret")).expect("a secret");
    let authenticator = Authenticator::new(secret, &config.auth);
    let hub = Hub::start(begun, &config, authenticator).await;
    let hub = hub.expect("the hub starts");
    let mut sink = Sink::start([]).await;
    let endpoint = hub
        .create_endpoint(sink.url(), On::Always, Filter::default())
        .await
        .expect("the store answers")
        .expect("there is room");
    for number in 0..2 {
        let draft = Draft {
            everyone: true,
            message: format!("n{number}"),
            ..Draft::default()
        };
        let validated = draft.validate(Kind::Broadcast, "key:tests".into(), Timestamp::now());
        let published = hub.publish(validated.expect("a draft")).await;
        published.expect("it is published");
    }
    let secret = endpoint.secret.reveal();
    for number in 0..2 {
        let received = sink.signed(&secret).await;
        assert_eq!(received.message(), format!("n{number}"), "{call:?} {time}");
    }
    let query = WebhookQuery {
        of: WebhooksOf::Endpoint(endpoint.id),
        state: Some(WebhookState::Sent),
        before: None,
        limit: 10,
    };
    let recorded = async {
        loop {
            let sent = hub.webhooks(query).await.expect("webhooks");
            if sent.len() == 2 {
                return sent;
            }
            tokio::task::yield_now().await;
        }
    };
    let sent = soon("both records", recorded).await;
    assert!(sent.iter().all(|webhook| webhook.attempts == 1), "{sent:?}");
    assert!(faulty.called.load(Ordering::SeqCst) >= time, "{call:?}");
    hub.drain().await;
    hub.close().await;
    sink.expect_nothing();
}
