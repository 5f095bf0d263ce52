//! References of two processes that draw from one file at once: all distinct, none left out.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use campanile::reference::Reference;
use futures::future::join_all;

use super::*;

/// Where the children keep their store.
const CHILDS_STORE: &str = "CAMPANILE_TEST_SHARED_STORE";
/// How many each of them draws.
const DRAWS: usize = 32;

#[test]
#[ignore = "the child of two_processes_on_one_file_draw_distinct_references; it draws and ends"]
fn draws_references() {
    let file = std::env::var_os(CHILDS_STORE).expect("a file");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = SqliteOptions {
            shared: true,
            ..SqliteOptions::default()
        };
        let store = SqliteStore::open(Path::new(&file), options)
            .expect("the store opens")
            .store;
        println!("ready");
        std::io::stdin()
            .read_line(&mut String::new())
            .expect("a line");
        let draws = (0..DRAWS).map(|_| {
            let draft = Notification {
                reference: Some(Reference::Draw("CNC".into())),
                ..to_user("42")
            };
            // One call each, so that they end up in many commits.
            store.append(vec![draft])
        });
        for answer in join_all(draws.collect::<Vec<_>>()).await {
            let placed = answer.expect("stored").remove(0).expect("not refused");
            println!(
                "drawn {} {}",
                placed.reference.expect("a reference"),
                placed.position.expect("a place")
            );
        }
        store.close().await;
    });
}

#[test]
fn two_processes_on_one_file_draw_distinct_references() {
    let place = Directory::new();
    // Made beforehand, so that the two do not race for making it.
    drop(place.open());
    let child_test = concat!(module_path!(), "::draws_references");
    let (_, name) = child_test.split_once("::").expect("a path in a crate");
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", name, "--ignored", "--nocapture"])
                .env(CHILDS_STORE, place.file())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a child")
        })
        .collect();
    let mut lines: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("its words")).lines())
        .collect();
    for lines in &mut lines {
        lines
            .find(|line| line.as_ref().is_ok_and(|line| line.ends_with("ready")))
            .expect("it is ready")
            .expect("a line");
    }
    // Both are let go when both are ready.
    for child in &mut children {
        drop(child.stdin.take());
    }
    let mut numbers = BTreeSet::new();
    let mut positions = BTreeSet::new();
    for line in lines.into_iter().flatten() {
        let line = line.expect("a line");
        let Some(drawn) = line.strip_prefix("drawn CNC-") else {
            continue;
        };
        let (reference, position) = drawn.split_once(' ').expect("two words");
        let (_, number) = reference.split_once('-').expect("a number");
        assert!(
            numbers.insert(number.parse::<usize>().expect("a number")),
            "{line} came twice"
        );
        assert!(
            positions.insert(position.parse::<usize>().expect("a position")),
            "{line}"
        );
    }
    for mut child in children {
        assert!(child.wait().expect("its end").success());
    }
    let all: BTreeSet<usize> = (1..=2 * DRAWS).collect();
    assert_eq!((numbers, positions), (all.clone(), all));
}
