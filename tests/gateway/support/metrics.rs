//! A strict parser of `/metrics`, Prometheus text format 0.0.4.

use std::collections::{BTreeMap, HashSet};

use super::server::{Server, eventually};

/// The samples by name with labels, and the type of each name.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub samples: BTreeMap<String, u64>,
    pub types: BTreeMap<String, String>,
}

impl Metrics {
    /// Parses a page; panics unless each name has HELP, then TYPE, then all its samples with
    /// distinct labels.
    pub fn parse(text: &str) -> Metrics {
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut current) = (HashSet::new(), String::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(
                    is_name(name) && !help.is_empty() && helped.insert(name.to_owned()),
                    "{line}"
                );
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(
                    helped.contains(name) && ["counter", "gauge"].contains(&kind),
                    "{line}"
                );
                assert!(
                    types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{line}"
                );
                name.clone_into(&mut current);
            } else {
                let (key, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = key.find('{').map_or((key, ""), |at| key.split_at(at));
                assert_eq!(name, current, "a sample outside its group");
                assert_labels(labels);
                // Fractions are dropped; tests only use counts.
                assert!(
                    value.parse::<f64>().is_ok_and(|number| number >= 0.0),
                    "{line}"
                );
                let value = value.split('.').next().unwrap().parse().unwrap();
                assert!(samples.insert(key.to_owned(), value).is_none(), "{line}");
            }
        }
        Metrics { samples, types }
    }

    /// The value of a sample; 0 if missing.
    pub fn value(&self, sample: &str) -> u64 {
        self.samples.get(sample).copied().unwrap_or(0)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `{name="value",...}`, with only backslash, quote and line end escaped.
fn assert_labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut rest = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(is_name(name), "{text}");
        let mut escaped = false;
        let end = value.find(|c: char| {
            assert!(!escaped || ['\\', '"', 'n'].contains(&c), "{text}");
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &value[end.unwrap() + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert!(rest.is_empty(), "{text}"),
        }
    }
}

impl Server {
    /// The current metrics.
    pub fn metrics(&self) -> Metrics {
        let reply = self.client().get("/metrics", None);
        assert_eq!(reply.status, 200);
        Metrics::parse(reply.text())
    }

    /// Waits until a sample, named without the prefix, has this value.
    pub fn metric_becomes(&self, sample: &str, value: u64) {
        let sample = format!("cc_gateway_{sample}");
        eventually(&format!("{sample} {value}"), || {
            self.metric(&sample) == value
        });
    }
}
