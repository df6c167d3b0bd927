//! A sparkline of the last minutes for a table cell.

use std::time::Duration;

/// The size in SVG units.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;

/// A sparkline for the template to draw.
#[derive(Debug, PartialEq)]
pub struct Spark {
    /// The segments of the line as SVG points; unknown values are gaps between them.
    pub lines: Vec<String>,
    /// The text alternative for screen readers.
    pub label: String,
}

/// Makes a sparkline of these values, newest at the right. `over` is the time between the first and the last; `tell`
/// formats a value.
#[must_use]
pub fn spark(what: &str, values: &[Option<f64>], over: Duration, tell: impl Fn(f64) -> String) -> Spark {
    let known = || values.iter().flatten().copied();
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    let steps = u32::try_from(values.len().max(2) - 1).unwrap_or(u32::MAX);
    let seconds = over.as_secs_f64();
    let label = match values.last().copied().flatten() {
        None => format!("{what}: currently unknown"),
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
        // The interval is 2 s, and one sample came late.
        let drawn = spark("depth", &[Some(0.0), None, Some(4.0), Some(2.0)], Duration::from_millis(8_600), |one| {
            one.to_string()
        });
        assert_eq!(drawn.lines, ["0.0,27.0 ", "80.0,1.0 120.0,14.0 "]);
        assert_eq!(drawn.label, "depth in the last 9 s: now 2, at least 0, at most 4");
        let unknown = spark("depth", &[Some(1.0), None], Duration::from_secs(2), |one| one.to_string());
        assert_eq!(unknown.label, "depth: currently unknown");
        let one = spark("depth", &[Some(0.0)], Duration::ZERO, |one| one.to_string());
        assert_eq!((one.lines, one.label), (vec!["120.0,27.0 ".to_owned()], "depth now: 0".to_owned()));
    }
}
