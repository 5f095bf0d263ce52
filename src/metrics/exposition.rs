//! Prometheus' text format, version 0.0.4, and the only place that knows it:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! A family is its HELP, its TYPE and then its samples, together and once: written by [`Exposition::family`], whose
//! samples can only be added before the next family is begun. A family without samples says that its values are not
//! known at present.

use std::fmt::{self, Display, Write as _};

use super::Histogram;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Rises, or starts again from zero.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The text as it grows.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// The family that is being written.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &str) -> Family<'_> {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        self.begin(name, kind, help)
    }

    /// A whole family that is one distribution; its values are divided by `unit` for the reader.
    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        histogram: &Histogram,
        unit: u64,
        help: &str,
    ) {
        let text = self.begin(name, "histogram", help).text;
        let (buckets, count, sum) = histogram.cumulative();
        for (bound, count) in buckets {
            let bound = Scaled(bound, unit);
            line(text, name, "_bucket", &[("le", &bound)], &count);
        }
        line(text, name, "_bucket", &[("le", &"+Inf")], &count);
        line(text, name, "_sum", &[], &Scaled(sum, unit));
        line(text, name, "_count", &[], &count);
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let text = &mut self.0;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}", Escaped(&help, ""));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        Family { text, name }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// The family's only sample.
    pub(super) fn value(self, value: impl Display) {
        line(self.text, self.name, "", &[], &value);
    }

    /// One of its samples, told from the others by its labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        line(self.text, self.name, "", labels, &value);
    }
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, &dyn Display)],
    value: &dyn Display,
) {
    let _ = write!(text, "{name}{suffix}");
    for (index, (label, value)) in labels.iter().enumerate() {
        let before = if index == 0 { '{' } else { ',' };
        let _ = write!(text, "{before}{label}=\"{}\"", Escaped(value, "\""));
    }
    if !labels.is_empty() {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

/// A text with backslashes, line ends, and these letters besides escaped: a label's value stands in quotes, HELP does not.
struct Escaped<'a>(&'a dyn Display, &'static str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>, &'static str);
        impl fmt::Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|letter| match letter {
                    '\n' => self.0.write_str("\\n"),
                    '\\' => self.0.write_str("\\\\"),
                    other if self.1.contains(other) => write!(self.0, "\\{other}"),
                    other => self.0.write_char(other),
                })
            }
        }
        write!(Escape(f, self.1), "{}", self.0)
    }
}

/// A whole number in another unit: nanoseconds as seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled(pub(super) u64, pub(super) u64);

impl Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, unit) = *self;
        if unit <= 1 {
            return value.fmt(f);
        }
        let scaled = value as f64 / unit as f64;
        scaled.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_its_help_its_type_and_its_samples() {
        let mut text = Exposition::default();
        let mut family = text.family("a_total", Type::Counter, "Of \\ \"and\"\nmore.");
        family.sample(&[("route", &"a\"b\\c\nd"), ("status", &"2xx")], 3);
        text.family("b", Type::Gauge, "B.").value(0.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total Of \\\\ \"and\"\\nmore.\n# TYPE a_total counter\n\
             a_total{route=\"a\\\"b\\\\c\\nd\",status=\"2xx\"} 3\n\
             # HELP b B.\n# TYPE b gauge\nb 0.5\n"
        );
    }

    #[test]
    fn a_distribution_of_nanoseconds_is_told_in_seconds() {
        let histogram = Histogram::new(&[1_000_000, 2_500_000]);
        histogram.observe(2_000_000);
        histogram.observe(3_000_000_000);
        let mut text = Exposition::default();
        text.histogram("d_seconds", &histogram, 1_000_000_000, "D.");
        assert_eq!(
            text.finish(),
            "# HELP d_seconds D.\n# TYPE d_seconds histogram\n\
             d_seconds_bucket{le=\"0.001\"} 0\nd_seconds_bucket{le=\"0.0025\"} 1\n\
             d_seconds_bucket{le=\"+Inf\"} 2\nd_seconds_sum 3.002\nd_seconds_count 2\n"
        );
    }
}
