//! Prometheus' text format as a scraper reads it, in the tests' own words and not the hub's: whatever breaks a rule of
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> is a panic that says which.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

/// One answer of `/metrics`.
#[derive(Clone, Debug)]
pub struct Scrape(pub BTreeMap<String, Family>);

#[derive(Clone, Debug)]
pub struct Family {
    pub kind: String,
    /// By the name in the line, which for a histogram is not the family's.
    pub samples: Vec<(String, Labels, f64)>,
}

impl Scrape {
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut series: BTreeSet<(String, Labels)> = BTreeSet::new();
        let mut current = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and words");
                assert!(words.ends_with('.'), "no sentence: {line}");
                let kind = lines
                    .next()
                    .and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")))
                    .unwrap_or_else(|| panic!("no TYPE after {line}"));
                let family = Family {
                    kind: kind.to_owned(),
                    samples: Vec::new(),
                };
                let before = families.insert(name.to_owned(), family);
                assert!(before.is_none(), "{name} comes twice");
                current = name.to_owned();
                continue;
            }
            let (name, labels, value) = sample(line);
            let family = families.get_mut(&current).expect("HELP comes first");
            let suffix = name.strip_prefix(&current).expect("samples of the family");
            let fits = match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                "counter" => suffix.is_empty() && name.ends_with("_total"),
                "gauge" => suffix.is_empty() && !name.ends_with("_total"),
                other => panic!("{current} is a {other}"),
            };
            assert!(fits, "{line} does not belong to a {}", family.kind);
            let new = series.insert((name.clone(), labels.clone()));
            assert!(new, "the series of {line} comes twice");
            family.samples.push((name, labels, value));
        }
        Self(families)
    }

    /// The value of the one sample with these labels, no more and no less.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("there is no {name}{labels:?}"))
    }

    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Labels = labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect();
        let mut found = self.samples(name).filter(|(labels, _)| **labels == wanted);
        found.next().map(|(_, value)| value)
    }

    /// The samples whose line has this name.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> {
        self.0
            .values()
            .flat_map(|family| &family.samples)
            .filter(move |(line, ..)| line == name)
            .map(|(_, labels, value)| (labels, *value))
    }

    /// The type of the family that lines of this name belong to.
    pub fn kind_of(&self, name: &str) -> Option<&str> {
        let stem = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let histogram = stem
            .and_then(|stem| self.0.get(stem))
            .filter(|family| family.kind == "histogram");
        let family = self.0.get(name).filter(|family| family.kind != "histogram");
        family.or(histogram).map(|family| family.kind.as_str())
    }
}

/// `name{label="value",…} value`
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = value
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    assert!(is_name(name) && name.starts_with("campanile_"), "{line}");
    let mut labels = Labels::new();
    while rest != "}" {
        let (label, after) = rest.split_once("=\"").expect("a label and its value");
        assert!(is_name(label), "{line}");
        let mut value = String::new();
        let mut letters = after.chars();
        loop {
            match letters.next().expect("the end of a label's value") {
                '"' => break,
                '\\' => match letters.next() {
                    Some('n') => value.push('\n'),
                    Some(letter @ ('"' | '\\')) => value.push(letter),
                    other => panic!("\\{other:?} in {line}"),
                },
                letter => value.push(letter),
            }
        }
        let before = labels.insert(label.to_owned(), value);
        assert!(before.is_none(), "a label twice in {line}");
        rest = letters.as_str();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name.to_owned(), labels, value)
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    first && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
