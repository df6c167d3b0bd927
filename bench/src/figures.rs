//! The figures of several rounds, and their median, minimum and maximum.

use std::{collections::BTreeMap, time::Instant};

use orderflow_tests::{Child, memory};
use serde::Serialize;

/// The median, minimum and maximum of one figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// See [`median`].
    pub median: f64,
    /// The minimum.
    pub min: f64,
    /// The maximum.
    pub max: f64,
}

/// Figures by name, each with at most one value per round.
#[derive(Debug, Default)]
pub struct Figures {
    round: usize,
    by_name: BTreeMap<String, BTreeMap<usize, f64>>,
}

impl Figures {
    /// Begins a round: figures added from now on belong to it.
    pub fn begin_round(&mut self, round: usize) {
        self.round = round;
    }

    /// Adds a figure of the current round and prints it.
    pub fn add(&mut self, name: &str, figure: f64) {
        println!("  {name} {}", shown(figure));
        self.by_name.entry(name.to_owned()).or_default().insert(self.round, figure);
    }

    /// Adds the ratio of two figures of the current round, if both were measured in it.
    pub fn ratio(&mut self, name: &str, of: &str, to: &str) {
        let of_round = |figure: &str| self.by_name.get(figure)?.get(&self.round).copied();
        if let (Some(of), Some(to)) = (of_round(of), of_round(to)) {
            self.add(name, of / to);
        }
    }

    /// Returns the median of a figure.
    pub fn median(&self, name: &str) -> Option<f64> {
        self.by_name.get(name).map(|rounds| median(rounds.values().copied().collect()))
    }

    /// Returns the spread of each figure.
    pub fn summary(&self) -> BTreeMap<&str, Spread> {
        let spread = |rounds: &BTreeMap<usize, f64>| Spread {
            median: median(rounds.values().copied().collect()),
            min: rounds.values().copied().fold(f64::INFINITY, f64::min),
            max: rounds.values().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        self.by_name.iter().map(|(name, rounds)| (name.as_str(), spread(rounds))).collect()
    }

    /// Prints the spread of each figure as a table.
    pub fn print(&self) {
        println!("\n{:<26} {:>10} {:>10} {:>10}", "figure", "median", "least", "greatest");
        for (name, spread) in self.summary() {
            let [median, min, max] = [spread.median, spread.min, spread.max].map(shown);
            println!("{name:<26} {median:>10} {min:>10} {max:>10}");
        }
    }

    /// Returns all values as CSV with a header.
    pub fn csv(&self) -> String {
        let lines = self
            .by_name
            .iter()
            .flat_map(|(name, rounds)| rounds.iter().map(move |(round, figure)| format!("{name},{round},{figure}\n")));
        std::iter::once("figure,round,value\n".to_owned()).chain(lines).collect()
    }
}

/// Returns the rate per second of `count` since `begin`.
pub fn per_second(count: usize, begin: Instant) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / begin.elapsed().as_secs_f64()
}

/// Returns a memory line of `/proc/ID/status` of the first of these processes, for example `VmHWM`, in MiB; 0 if there
/// is none.
pub fn mebibytes(processes: &[Child], line: &str) -> f64 {
    let kib = processes.first().and_then(|process| memory(process.id(), line)).unwrap_or_default();
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

/// Returns the median; for an even number of figures, the greater of the two in the middle; NaN without figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Formats a figure: without decimals from 100 on, otherwise with two.
pub fn shown(figure: f64) -> String {
    if figure.abs() >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_needs_both_figures_of_one_round() {
        let mut figures = Figures::default();
        figures.begin_round(1);
        figures.add("ours", 50.0);
        figures.ratio("ratio", "ours", "theirs");
        assert_eq!(figures.summary().get("ratio"), None);
        figures.begin_round(2);
        figures.add("theirs", 100.0);
        figures.ratio("ratio", "ours", "theirs");
        assert_eq!(figures.summary().get("ratio"), None);
        for (round, ours) in [(3, 50.0), (4, 90.0)] {
            figures.begin_round(round);
            figures.add("ours", ours);
            figures.add("theirs", 100.0);
            figures.ratio("ratio", "ours", "theirs");
        }
        let spread = figures.summary().get("ratio").copied();
        assert_eq!(spread, Some(Spread { median: 0.9, min: 0.5, max: 0.9 }));
        assert!(figures.csv().contains("ratio,4,0.9\n"), "{}", figures.csv());
    }
}
