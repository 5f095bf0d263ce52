//! Throttles by the clock: requests that overtake each other, and a clock that is set back.

use campanile::throttle::Throttle;

use super::*;

/// A store, and one throttle with a window of a second.
struct Throttled {
    store: Arc<dyn Store>,
    _place: Directory,
}

impl Throttled {
    fn new() -> Self {
        let place = Directory::new();
        Self {
            store: place.open().store,
            _place: place,
        }
    }

    /// Whether one that was validated at this millisecond is held off.
    async fn holds_off(&self, millis: u64) -> bool {
        let draft = Notification {
            created_at: Timestamp::from_millis(millis),
            throttle: Some(Throttle {
                key: "t".into(),
                window: Duration::from_secs(1),
            }),
            ..to_user("42")
        };
        let answers = self.store.append(vec![draft]).await;
        let placed = answers.expect("an answer").remove(0);
        placed.expect("not refused").throttled
    }
}

#[tokio::test]
async fn one_that_is_overtaken_on_its_way_does_not_shorten_the_window() {
    let throttle = Throttled::new();
    assert!(!throttle.holds_off(10_000).await);
    // Validated before that one, and stored after it.
    assert!(throttle.holds_off(9_800).await);
    assert!(throttle.holds_off(10_999).await);
    assert!(!throttle.holds_off(11_000).await);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_lengthen_the_window() {
    const DAY: u64 = 24 * 3_600_000;
    let throttle = Throttled::new();
    assert!(!throttle.holds_off(10 * DAY).await);
    assert!(throttle.holds_off(9 * DAY).await);
    assert!(throttle.holds_off(9 * DAY + 999).await);
    assert!(!throttle.holds_off(9 * DAY + 1_000).await);
}

#[tokio::test]
async fn a_minute_is_the_most_that_one_can_be_overtaken_by() {
    let throttle = Throttled::new();
    assert!(!throttle.holds_off(600_000).await);
    // A minute before that one was validated: it was overtaken, and the window stays where it was.
    assert!(throttle.holds_off(540_000).await);
    assert!(throttle.holds_off(541_000).await);
    // Earlier than that the clock has been set back, and the window begins anew.
    assert!(throttle.holds_off(539_999).await);
    assert!(!throttle.holds_off(540_999).await);
}
