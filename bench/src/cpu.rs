//! Processor time by program, read from Linux's /proc.

use std::{collections::BTreeMap, fs};

/// Clock ticks per second: USER_HZ, which is always 100 in /proc (proc(5), sysconf(3)).
const TICKS: f64 = 100.0;

/// The programs that share the work: their names in /proc, cut to 15 characters, and ours.
const PROGRAMS: [(&str, &str); 5] = [
    ("orderflow-worke", "worker"),
    ("orderflow", "front end"),
    ("loyalty", "loyalty"),
    ("beam.smp", "broker"),
    ("postgres", "database"),
];

/// Returns the seconds of processor time that each program's running processes have used since they started. Ended
/// processes are not counted, so take the difference of two readings while all of them run.
pub fn seconds() -> BTreeMap<&'static str, f64> {
    let mut used = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for stat in entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok()) {
        if let Some((name, ticks)) = read(&stat)
            && let Some((_, program)) = PROGRAMS.iter().find(|(known, _)| *known == name)
        {
            *used.entry(*program).or_default() += ticks / TICKS;
        }
    }
    used
}

/// Returns the seconds of processor time that these processes have used since they started.
pub fn of(processes: &[u32]) -> f64 {
    let stats = processes.iter().filter_map(|id| fs::read_to_string(format!("/proc/{id}/stat")).ok());
    stats.filter_map(|stat| Some(read(&stat)?.1)).sum::<f64>() / TICKS
}

/// Parses a line of /proc/PID/stat into the name and the user + system ticks. The name is in parentheses and may
/// contain spaces.
fn read(stat: &str) -> Option<(&str, f64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((name, user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_name_and_ticks() {
        let line = "42 (beam.smp) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 30";
        assert_eq!(read(line), Some(("beam.smp", 200.0)));
    }
}
