//! Somebody else's inbox: an administrator looks into it, and nobody else can tell what is there.

use campanile::auth::Scope;
use serde_json::json;

use super::{get, id, idle, page, read, told};
use crate::support::{TestHub, to_role, to_user};

#[tokio::test]
async fn what_is_not_in_the_callers_inbox_is_not_found_by_any_route() {
    let hub = TestHub::start().await;
    let before = hub.publish(to_role("CREW", 0)).await;
    idle(&hub).await;
    drop(hub.stream("ann", &["CREW"]).await);
    let named = json!({"targetUserId": "bob", "message": "n1", "reference": "SECRET-1"});
    let strangers = hub.publish(named).await;
    let roles = hub.publish(to_role("CREW", 2)).await;
    let broadcast = hub.broadcast(to_user("ann", 3)).await;
    let (ann, crew) = (hub.token("ann", &[], &[]), hub.token("ann", &["CREW"], &[]));
    let unknown = uuid::Uuid::now_v7().to_string();
    for (token, id, expected) in [
        (&ann, id(&strangers), 404),
        (&ann, "SECRET-1", 404),
        (&ann, id(&roles), 404),
        (&ann, id(&broadcast), 404),
        (&ann, &unknown, 404),
        (&ann, "no-id", 404),
        (&ann, "%FF", 404),
        (&crew, id(&before), 404),
        (&crew, id(&roles), 200),
    ] {
        let path = format!("/notifications/{id}");
        let (status, problem) = get(&hub, token, &path).await;
        assert_eq!(status, expected, "{path}: {problem}");
        if expected == 404 {
            let due = "there is no such notification in this inbox";
            assert_eq!(problem["detail"], due, "{path}");
            let read = read(&hub, token, &format!("{path}/read"), json!({})).await;
            assert_eq!(read, 404, "{path}");
        }
    }
    let by_reference = page(&hub, &ann, "?reference=SECRET-1").await;
    assert_eq!(by_reference, json!({"notifications": []}));
    assert_eq!(told(&page(&hub, &ann, "").await), [""; 0]);
    hub.stop().await;
}

#[tokio::test]
async fn an_administrator_sees_an_inbox_as_its_user_would_with_these_roles_and_nobody_else_does() {
    let hub = TestHub::start().await;
    drop(hub.stream("ann", &["CREW", "OPS"]).await);
    let own = hub.publish(to_user("ann", 1)).await;
    hub.publish(to_role("CREW", 2)).await;
    hub.publish(to_role("OPS", 3)).await;
    let ann = hub.token("ann", &["CREW"], &[]);
    let path = format!("/notifications/{}", id(&own));
    assert_eq!(
        read(&hub, &ann, &format!("{path}/read"), json!({})).await,
        204
    );
    let scopes = |scope| [scope].into_iter().collect();
    let make = async |name, scope| {
        let key = hub.hub().create_key(name, scopes(scope)).await;
        key.expect("a key").0
    };
    let (key, publisher) = (
        make("admin", Scope::Admin).await,
        make("billing", Scope::Publish).await,
    );
    let root = hub.token("root", &["CREW"], &["admin"]);
    for admin in [&root, &key] {
        for (query, due) in [
            ("?user=ann", vec!["n1*"]),
            ("?user=ann&role=CREW", vec!["n2", "n1*"]),
            ("?user=ann&role=OPS&role=CREW", vec!["n3", "n2", "n1*"]),
            ("?user=ann&role=OPS&unread=true", vec!["n3"]),
            // Of whoever has never been there only what names them, whatever the roles.
            ("?user=bob&role=CREW", vec![]),
        ] {
            assert_eq!(told(&page(&hub, admin, query).await), due, "{query}");
        }
        let item = get(&hub, admin, &format!("{path}?user=ann")).await;
        assert_eq!((item.0, &item.1["read"]), (200, &json!(true)));
        assert_eq!(get(&hub, admin, &format!("{path}?user=bob")).await.0, 404);
    }
    let as_ann = page(&hub, &root, "?user=ann&role=CREW").await;
    assert_eq!(as_ann, page(&hub, &ann, "").await);
    // Without a name it is one's own; one's own name is no other's.
    assert_eq!(told(&page(&hub, &root, "").await), [""; 0]);
    assert_eq!(page(&hub, &ann, "?user=ann").await, as_ann);

    let backend = hub.token("backend", &[], &["publish"]);
    let strangers = "another user's inbox, or one's own with other roles, takes the scope admin";
    let keys = "an API key has no inbox; with the scope admin it may look into a user's: ?user=";
    for (token, query, why) in [
        (&ann, "?user=bob", strangers),
        (&ann, "?user=ann&role=OPS", strangers),
        (&backend, "?user=ann", strangers),
        (&publisher, "?user=ann", strangers),
        (&publisher, "", keys),
        (&key, "", keys),
    ] {
        let (status, problem) = get(&hub, token, &format!("/notifications{query}")).await;
        assert_eq!((status, &problem["detail"]), (403, &json!(why)), "{query}");
        let (status, problem) = get(&hub, token, &format!("{path}{query}")).await;
        assert_eq!(status, 403, "{query}: {problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_look_by_an_administrator_is_no_visit() {
    let hub = TestHub::start().await;
    let root = hub.token("root", &[], &["admin"]);
    page(&hub, &root, "?user=ann&role=CREW").await;
    hub.publish(to_role("CREW", 1)).await;
    idle(&hub).await;
    drop(hub.stream("ann", &["CREW"]).await);
    let page = page(&hub, &root, "?user=ann&role=CREW").await;
    assert_eq!((told(&page).len(), &page["unread"]), (0, &json!(0)));
    hub.stop().await;
}
