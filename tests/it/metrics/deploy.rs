//! The alert rules and the dashboard ask for what a hub really exports, and for what it is.
//!
//! A name that nobody exports makes no error in Prometheus: the alert never fires and the panel stays empty. So each
//! expression is taken apart here and held against a hub that has done a little of everything: its metrics exist, a counter
//! stands inside `rate` or `increase` and a gauge does not, quantiles are of buckets, and labels and their values occur.

use std::collections::BTreeSet;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::scrape::Scrape;
use super::{exercised, scraped};

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboard.json");

/// What Prometheus adds to each sample.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];
/// Functions of a range that only make sense of what rises.
const OF_COUNTERS: [&str; 3] = ["rate", "irate", "increase"];
/// Functions of a range that only make sense of what goes up and down.
const OF_GAUGES: [&str; 5] = [
    "changes",
    "max_over_time",
    "min_over_time",
    "avg_over_time",
    "delta",
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Sign(char),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = expression.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '"' {
            let text = letters
                .by_ref()
                .take_while(|letter| *letter != '"')
                .collect();
            tokens.push(Token::Text(text));
        } else if letter.is_ascii_alphanumeric() || "_$.".contains(letter) {
            let mut name = String::from(letter);
            while let Some(next) =
                letters.next_if(|l| l.is_ascii_alphanumeric() || "_.".contains(*l))
            {
                name.push(next);
            }
            tokens.push(Token::Name(name));
        } else if !letter.is_whitespace() {
            tokens.push(Token::Sign(letter));
        }
    }
    tokens
}

/// Holds an expression against what a hub has exported, and returns the metrics in it.
#[track_caller]
fn check(expression: &str, told: &Scrape) -> BTreeSet<String> {
    let tokens = tokens(expression);
    let name_at = |index: usize| match tokens.get(index) {
        Some(Token::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    let is = |index: usize, sign| tokens.get(index) == Some(&Token::Sign(sign));
    // The functions that are open at a token, the innermost last; a bare bracket is one without a name.
    let mut open: Vec<Option<&str>> = Vec::new();
    let mut metrics = BTreeSet::new();
    let mut grouped = BTreeSet::new();
    for index in 0..tokens.len() {
        if is(index, '(') {
            let name = index.checked_sub(1).and_then(name_at);
            if matches!(name, Some("by" | "without")) {
                let group = (index + 1..).take_while(|at| !is(*at, ')'));
                grouped.extend(group.filter_map(name_at));
            }
            open.push(name);
        }
        if is(index, ')') {
            assert!(open.pop().is_some(), "a bracket too many: {expression}");
        }
        let Some(metric) = name_at(index).filter(|name| name.starts_with("campanile_")) else {
            continue;
        };
        let kind = told.kind_of(metric);
        let kind = kind.unwrap_or_else(|| panic!("no hub exports {metric}: {expression}"));
        metrics.insert(metric.to_owned());
        let mut after = index + 1;
        if is(after, '{') {
            let end = (after..).find(|at| is(*at, '}')).expect("its end");
            selector(&tokens[after + 1..end], metric, told);
            after = end + 1;
        }
        let ranged = is(after, '[');
        let function = open.last().copied().flatten().unwrap_or("");
        let rises = kind != "gauge";
        let of_counters = OF_COUNTERS.contains(&function);
        assert_eq!(rises, of_counters, "{metric} is a {kind}: {expression}");
        let of_range = of_counters || OF_GAUGES.contains(&function);
        assert_eq!(ranged, of_range, "{function} of {metric}: {expression}");
        let quantile = open.contains(&Some("histogram_quantile"));
        assert_eq!(
            quantile,
            metric.ends_with("_bucket"),
            "{metric}: {expression}"
        );
    }
    assert!(open.is_empty(), "a bracket too few: {expression}");
    assert!(!metrics.is_empty(), "of what? {expression}");
    let known: BTreeSet<&str> = metrics
        .iter()
        .flat_map(|metric| labels_of(metric, told))
        .collect();
    for label in grouped {
        assert!(known.contains(label), "nothing has {label}: {expression}");
    }
    if expression.contains("histogram_quantile") {
        assert!(
            expression.contains("le)"),
            "a quantile needs le: {expression}"
        );
    }
    metrics
}

fn labels_of<'a>(metric: &'a str, told: &'a Scrape) -> impl Iterator<Item = &'a str> {
    told.samples(metric)
        .flat_map(|(labels, _)| labels.keys().map(String::as_str))
        .chain(TARGET_LABELS)
}

/// `label="value", other=~"a|b"`: labels that the metric has, with values that occur.
#[track_caller]
fn selector(tokens: &[Token], metric: &str, told: &Scrape) {
    for matcher in tokens.split(|token| *token == Token::Sign(',')) {
        let (Some(Token::Name(label)), Some(Token::Text(wanted))) =
            (matcher.first(), matcher.last())
        else {
            panic!("no matcher of {metric}: {matcher:?}");
        };
        let mut labels = labels_of(metric, told);
        assert!(
            labels.any(|known| known == label),
            "{metric} has no {label}"
        );
        if TARGET_LABELS.contains(&label.as_str()) {
            continue;
        }
        for value in wanted.split('|') {
            let mut samples = told.samples(metric);
            let occurs = samples.any(|(labels, _)| labels.get(label).is_some_and(|v| v == value));
            assert!(occurs, "no {metric} has {label}={value:?}");
        }
    }
}

#[tokio::test]
async fn every_alert_asks_for_what_a_hub_exports() {
    let hub = exercised().await;
    let told = scraped(hub.hub()).await;
    let documents = YamlLoader::load_from_str(ALERTS).expect("YAML");
    let groups = documents[0]["groups"].as_vec().expect("groups");
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().expect("rules"));
    let mut names = BTreeSet::new();
    for rule in rules {
        let text = |value: &Yaml| value.as_str().map(str::to_owned);
        let name = text(&rule["alert"]).expect("a name");
        check(&text(&rule["expr"]).expect("an expression"), &told);
        let severity = text(&rule["labels"]["severity"]).expect("a severity");
        assert!(
            ["critical", "warning"].contains(&severity.as_str()),
            "{name}"
        );
        for words in ["summary", "description"] {
            let words = text(&rule["annotations"][words]).expect("words");
            assert!(!words.is_empty(), "{name}");
            for event in words.split(|l: char| !(l.is_ascii_lowercase() || l == '_')) {
                let is_name = event.contains('_') && !event.starts_with("max_");
                assert!(
                    !is_name || campanile::events::ALL.contains(&event),
                    "{name} names {event}"
                );
            }
        }
        assert!(names.insert(name.clone()), "{name} comes twice");
    }
    assert!(names.len() >= 12, "{names:?}");
    hub.stop().await;
}

#[tokio::test]
async fn every_panel_asks_for_what_a_hub_exports_and_all_of_it_is_shown() {
    let hub = exercised().await;
    let told = scraped(hub.hub()).await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(
            panel["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{panel}");
        for target in targets {
            shown.extend(check(
                target["expr"].as_str().expect("an expression"),
                &told,
            ));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().expect("a list") {
        check(annotation["expr"].as_str().expect("an expression"), &told);
    }
    for variable in dashboard["templating"]["list"].as_array().expect("a list") {
        if variable["type"] == "query" {
            check(variable["query"]["query"].as_str().expect("a query"), &told);
        }
    }
    // What is exported and shown nowhere is exported for nobody.
    for (name, family) in &told.0 {
        let mut lines = family.samples.iter().map(|(line, ..)| line);
        assert!(
            lines.any(|line| shown.contains(line)),
            "{name} is not on the dashboard"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn an_expression_that_asks_for_something_else_is_found_out() {
    let hub = exercised().await;
    let told = scraped(hub.hub()).await;
    for wrong in [
        "campanile_no_such_thing > 0",
        "rate(campanile_streams_open[5m])",
        "campanile_publishes_total > 0",
        "increase(campanile_publishes_total)",
        "rate(campanile_publishes_total{kind=\"carrier-pigeon\"}[5m])",
        "rate(campanile_publishes_total{colour=\"red\"}[5m])",
        "sum by (colour) (rate(campanile_publishes_total[5m]))",
        "histogram_quantile(0.9, sum by (le) (rate(campanile_commit_notifications_sum[5m])))",
        "sum(campanile_streams_open",
        "vector(0)",
    ] {
        let found = std::panic::catch_unwind(|| check(wrong, &told));
        assert!(found.is_err(), "{wrong} was let through");
    }
    hub.stop().await;
}
