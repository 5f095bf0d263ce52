//! A hub held to a model of itself: whatever is asked of it, in whatever order, stopped and crashed in between.
//!
//! Plans are drawn at random and shrunk when they fail. Each is carried out over the wire on a whole hub with a store of
//! its own, and next to it on a [`Model`](rules::Model) that is a list of entries and a few plain rules. After each step what
//! publishers were answered and what streams were sent must be what the rules say, and after the last one the file must
//! hold what the model does and nothing else.
//!
//! - `plan`: what may happen, and how it is drawn
//! - `rules`: what a hub must make of it
//! - `world`: the steps, carried out on both; `publishing` and `reading`: those of publishers and of readers
//! - `device`: somebody's stream, and what it must be sent
//! - `file`: the store's file, looked at and made older
//!
//! `CAMPANILE_TEST_CASES` says how many plans are tried (24), `CAMPANILE_TEST_STEPS` how long they are at most (40),
//! `CAMPANILE_TEST_SEED` draws the same ones again.

mod device;
mod file;
mod plan;
mod publishing;
mod reading;
mod rules;
mod world;

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};

use self::world::World;
use crate::support::RECENT_BYTES;

/// A number from the environment.
fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{name} must be a number, and is {text:?}")))
}

#[test]
fn whatever_is_asked_of_it_a_hub_does_what_the_model_says() {
    let seed = asked("CAMPANILE_TEST_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let steps = asked("CAMPANILE_TEST_STEPS").unwrap_or(40);
    println!("CAMPANILE_TEST_SEED={seed}");
    let mut runner = TestRunner::new(Config {
        cases: asked("CAMPANILE_TEST_CASES").unwrap_or(24),
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_time: 180_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/streams/model/regressions.txt",
        ))),
        ..Config::default()
    });
    let memories = proptest::sample::select(&RECENT_BYTES[..]);
    let outcome = runner.run(&(plan::plans(steps), memories), |(plan, recent_bytes)| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut world = World::begin(recent_bytes).await;
            for step in plan {
                world.take(step).await;
            }
            world.end().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\nCAMPANILE_TEST_SEED={seed}");
    }
}
