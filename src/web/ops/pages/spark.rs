//! A line of the last minutes, small enough to stand in a table.

use std::time::Duration;

/// In units of the picture.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;

/// What the template draws.
#[derive(Debug, PartialEq)]
pub struct Spark {
    /// The parts of the line, as SVG has points: where nothing is known there is a gap.
    pub lines: Vec<String>,
    /// For whoever does not see it.
    pub label: String,
}

/// A line of these values, the newest at the right, which were so far apart from first to last; `tell` writes a value for
/// people.
#[must_use]
pub fn spark(what: &str, values: &[Option<f64>], over: Duration, tell: impl Fn(f64) -> String) -> Spark {
    let known = || values.iter().flatten().copied();
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    let steps = u32::try_from(values.len().max(2) - 1).unwrap_or(u32::MAX);
    let seconds = over.as_secs_f64();
    let label = match values.last().copied().flatten() {
        None => format!("{what}: not known now"),
        Some(now) if values.len() == 1 => format!("{what} now: {}", tell(now)),
        Some(now) => format!(
            "{what} in the last {seconds:.0} s: now {}, at least {}, at most {}",
            tell(now),
            tell(least),
            tell(most)
        ),
    };
    let scale = if most > 0.0 { most } else { 1.0 };
    let mut lines = vec![String::new()];
    let missing = f64::from(steps + 1) - f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
    for (place, value) in (0_u32..).zip(values) {
        match value {
            Some(value) => {
                let x = (f64::from(place) + missing) * WIDTH / f64::from(steps);
                let y = (HEIGHT - 2.0) * (1.0 - value / scale) + 1.0;
                if let Some(line) = lines.last_mut() {
                    line.push_str(&format!("{x:.1},{y:.1} "));
                }
            }
            None => lines.push(String::new()),
        }
    }
    lines.retain(|line| !line.is_empty());
    Spark { lines, label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fills_the_picture_and_has_gaps_where_nothing_is_known() {
        // They were asked for each 2 s, and one came late.
        let drawn = spark("depth", &[Some(0.0), None, Some(4.0), Some(2.0)], Duration::from_millis(8_600), |one| {
            one.to_string()
        });
        assert_eq!(drawn.lines, ["0.0,27.0 ", "80.0,1.0 120.0,14.0 "]);
        assert_eq!(drawn.label, "depth in the last 9 s: now 2, at least 0, at most 4");
        let unknown = spark("depth", &[Some(1.0), None], Duration::from_secs(2), |one| one.to_string());
        assert_eq!(unknown.label, "depth: not known now");
        let one = spark("depth", &[Some(0.0)], Duration::ZERO, |one| one.to_string());
        assert_eq!((one.lines, one.label), (vec!["120.0,27.0 ".to_owned()], "depth now: 0".to_owned()));
    }
}
