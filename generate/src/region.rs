//! The generated region of a file, between two comments.

use crate::error::GenerateError;

/// The marks of a region, with `NAME` for its name: in files whose comments begin with `#`, and in Markdown.
const MARKS: [(&str, &str); 2] = [("# generated: NAME", "# end"), ("<!-- generated: NAME -->", "<!-- end -->")];

/// The text around a region; it includes the marks.
struct Parts<'a> {
    before: &'a str,
    after: &'a str,
    /// The indentation of the marks.
    indentation: &'a str,
}

fn parts<'t>(text: &'t str, begin: &str, end: &str) -> Option<Parts<'t>> {
    let line_of = |mark: &str, from: usize| {
        let mut begin = from;
        text.get(from..)?.split_inclusive('\n').find_map(|line| {
            let at = begin;
            begin += line.len();
            (line.trim() == mark).then_some((at, begin))
        })
    };
    let (at, inside) = line_of(begin, 0)?;
    let (after, _) = line_of(end, inside)?;
    let first = text.get(at..inside)?;
    let indentation = first.get(..first.len() - first.trim_start().len())?;
    Some(Parts { before: text.get(..inside)?, after: text.get(after..)?, indentation })
}

/// Returns the file with these lines in its region of this name, indented as the region's marks are.
pub fn with_region(path: &str, name: &str, text: &str, lines: &str) -> Result<String, GenerateError> {
    let [hash, markdown] = MARKS;
    let (begin, end) = if path.ends_with(".md") { markdown } else { hash };
    let begin = begin.replace("NAME", name);
    let Some(Parts { before, after, indentation }) = parts(text, &begin, end) else {
        return Err(GenerateError::NoRegion { path: path.to_owned(), begin, end });
    };
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{indentation}{line}\n") };
    Ok(format!("{before}{}{after}", lines.lines().map(indented).collect::<String>()))
}

/// Returns the hand-written value of this key of a YAML file, outside generated regions.
pub fn by_hand<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut in_region = false;
    text.lines().map(str::trim).find_map(|line| {
        match line {
            "# end" => in_region = false,
            _ if line.starts_with("# generated: ") => in_region = true,
            _ => {}
        }
        let value = line.strip_prefix(key)?.strip_prefix(':')?;
        (!in_region).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "a:\n  KEPT: 1\n  # generated: services\n  MADE: 2\n  # end\n  ALSO: ${ALSO:-3}\n  # generated: more\n  \
                        LAST: 4\n  # end\n";

    #[test]
    fn lines_between_the_marks_are_replaced_and_indented() {
        let file = with_region("a.yml", "services", FILE, "NEW: 4\n\nMORE: 5").expect("it has marks");
        assert_eq!(file, FILE.replace("  MADE: 2\n", "  NEW: 4\n\n  MORE: 5\n"));
        assert_eq!(with_region("a.yml", "services", &file, "MADE: 2\n").expect("it has marks"), FILE);
        let more = with_region("a.yml", "more", FILE, "").expect("it has marks");
        assert_eq!(more, FILE.replace("  LAST: 4\n", ""), "the other region of the file");
        let page = "x\n<!-- generated: services -->\n<!-- end -->\n";
        let page = with_region("a.md", "services", page, "| a |").expect("it has marks");
        assert_eq!(page, "x\n<!-- generated: services -->\n| a |\n<!-- end -->\n");
    }

    #[test]
    fn file_without_marks_is_named() {
        let refused = with_region("docs/x.md", "services", "# generated: services\n", "").expect_err("it has one mark");
        let says = "docs/x.md needs a line `<!-- generated: services -->`, and below it `<!-- end -->`";
        assert_eq!(refused.to_string(), says);
    }

    #[test]
    fn hand_written_keys_are_distinguished_from_generated_ones() {
        let found = ["KEPT", "ALSO", "MADE", "LAST", "KEP"].map(|key| by_hand(FILE, key));
        assert_eq!(found, [Some("1"), Some("${ALSO:-3}"), None, None, None]);
    }
}
