//! Figures of several rounds, and what they come to.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

/// What the rounds of one figure came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Figures by their names, one for each round.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<&'static str, Vec<f64>>);

impl Figures {
    /// Adds a round's figure and shows it.
    pub fn add(&mut self, name: &'static str, figure: f64) {
        println!("  {name} {}", shown(figure));
        self.0.entry(name).or_default().push(figure);
    }

    /// Adds the ratio of two figures of the latest round, where both were measured in it.
    pub fn ratio(&mut self, name: &'static str, of: &str, to: &str) {
        let rounds = |figure: &str| self.0.get(figure).map_or(0, Vec::len);
        if let (Some(of), Some(to), true) = (self.latest(of), self.latest(to), rounds(of) == rounds(to)) {
            self.add(name, of / to);
        }
    }

    /// Returns the median of a figure.
    pub fn median(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|rounds| median(rounds.clone()))
    }

    /// Returns what each figure came to.
    pub fn summary(&self) -> BTreeMap<&'static str, Spread> {
        let spread = |rounds: &Vec<f64>| Spread {
            median: median(rounds.clone()),
            min: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            max: rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        self.0.iter().map(|(name, rounds)| (*name, spread(rounds))).collect()
    }

    /// Returns every round as CSV with a header.
    pub fn csv(&self) -> String {
        let lines = self.0.iter().flat_map(|(name, rounds)| {
            rounds.iter().enumerate().map(move |(round, figure)| format!("{name},{},{figure}\n", round + 1))
        });
        std::iter::once("figure,round,value\n".to_owned()).chain(lines).collect()
    }

    fn latest(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.last().copied()
    }
}

/// Returns how many a second these were since `begin`.
pub fn per_second(count: usize, begin: Instant) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / begin.elapsed().as_secs_f64()
}

/// Returns the middle figure, of an even number the greater of the two; NaN of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns a figure with as many decimals as say something.
pub fn shown(figure: f64) -> String {
    if figure.abs() >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_needs_both_figures_of_one_round() {
        let mut figures = Figures::default();
        figures.add("ours", 50.0);
        figures.ratio("ratio", "ours", "theirs");
        assert_eq!(figures.summary().get("ratio"), None);
        figures.add("theirs", 100.0);
        figures.ratio("ratio", "ours", "theirs");
        figures.add("ours", 90.0);
        figures.add("theirs", 100.0);
        figures.ratio("ratio", "ours", "theirs");
        let spread = figures.summary().get("ratio").copied();
        assert_eq!(spread, Some(Spread { median: 0.9, min: 0.5, max: 0.9 }));
        assert!(figures.csv().contains("ratio,2,0.9\n"), "{}", figures.csv());
    }
}
