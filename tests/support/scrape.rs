//! A process's metrics, read as Prometheus reads them.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::plaintext;

/// One scrape of a process's metrics.
#[derive(Debug)]
pub struct Scrape {
    samples: Vec<Sample>,
}

/// A sample: a value with its name and labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Scrape {
    /// Scrapes the process at this address.
    ///
    /// # Panics
    /// Panics if it does not answer in the format of OpenMetrics.
    pub async fn of(address: SocketAddr) -> Self {
        let answer = plaintext().build().expect("a client").get(format!("http://{address}/metrics")).send().await;
        let answer = answer.expect("it answers");
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        assert_eq!(kind.as_deref(), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
        let text = answer.text().await.expect("a body");
        assert!(text.ends_with("# EOF\n"), "the answer is incomplete: {text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { samples: lines.map(sample).collect() }
    }

    /// Returns the sum of the samples with this name and at least these labels; 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(wanted).map(|sample| sample.value).sum()
    }

    /// Returns all samples.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

/// Parses `name{label="value",other="value"} 1.5`; our label values contain neither quotes nor commas.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("the line has no value: {line}"));
    let (name, labels) = series.strip_suffix('}').and_then(|open| open.split_once('{')).unwrap_or((series, ""));
    let label = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or_else(|| panic!("the line has an invalid label: {line}"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    Sample {
        name: name.to_owned(),
        labels: labels.split(',').filter(|text| !text.is_empty()).map(label).collect(),
        value: value.parse().unwrap_or_else(|_| panic!("the value is not a number: {line}")),
    }
}
