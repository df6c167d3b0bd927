//! The part of a file that is generated, between two comments.

use crate::error::GenerateError;

/// The two lines, in files where a comment begins with `#`, and in Markdown.
const MARKS: [(&str, &str); 2] = [("# generated: services", "# end"), ("<!-- generated: services -->", "<!-- end -->")];

/// A text in three parts; the marks are in the first and the last.
struct Parts<'a> {
    before: &'a str,
    after: &'a str,
    /// What the marks' lines begin with.
    indentation: &'a str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let line_of = |mark: &str, from: usize| {
        let mut begin = from;
        text.get(from..)?.split_inclusive('\n').find_map(|line| {
            let at = begin;
            begin += line.len();
            (line.trim() == mark).then_some((at, begin))
        })
    };
    MARKS.iter().find_map(|(begin, end)| {
        let (at, inside) = line_of(begin, 0)?;
        let (after, _) = line_of(end, inside)?;
        let first = text.get(at..inside)?;
        let indentation = first.get(..first.len() - first.trim_start().len())?;
        Some(Parts { before: text.get(..inside)?, after: text.get(after..)?, indentation })
    })
}

/// Returns the file with these lines between its marks, as far to the right as the marks are.
pub fn with_region(path: &str, text: &str, lines: &str) -> Result<String, GenerateError> {
    let [hash, markdown] = MARKS;
    let (begin, end) = if path.ends_with(".md") { markdown } else { hash };
    let Some(Parts { before, after, indentation }) = parts(text) else {
        return Err(GenerateError::NoRegion { path: path.to_owned(), begin, end });
    };
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{indentation}{line}\n") };
    Ok(format!("{before}{}{after}", lines.lines().map(indented).collect::<String>()))
}

/// Whether people give this key of a YAML file a value, outside of what is generated.
pub fn is_by_hand(text: &str, key: &str) -> bool {
    let Some(Parts { before, after, .. }) = parts(text) else { return false };
    before.lines().chain(after.lines()).any(|line| line.trim_start().strip_prefix(key).is_some_and(is_value))
}

fn is_value(rest: &str) -> bool {
    rest.starts_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "a:\n  KEPT: 1\n  # generated: services\n  MADE: 2\n  # end\n  ALSO: 3\n";

    #[test]
    fn lines_between_the_marks_are_replaced_and_indented() {
        let file = with_region("a.yml", FILE, "NEW: 4\n\nMORE: 5").expect("it has marks");
        assert_eq!(file, FILE.replace("  MADE: 2\n", "  NEW: 4\n\n  MORE: 5\n"));
        assert_eq!(with_region("a.yml", &file, "MADE: 2\n").expect("it has marks"), FILE);
        let page =
            with_region("a.md", "x\n<!-- generated: services -->\n<!-- end -->\n", "| a |").expect("it has marks");
        assert_eq!(page, "x\n<!-- generated: services -->\n| a |\n<!-- end -->\n");
    }

    #[test]
    fn file_without_marks_is_named() {
        let refused = with_region("docs/x.md", "# generated: services\n", "").expect_err("it has one mark");
        let says = "docs/x.md needs a line `<!-- generated: services -->`, and below it `<!-- end -->`";
        assert_eq!(refused.to_string(), says);
    }

    #[test]
    fn keys_that_people_write_are_told_from_generated_ones() {
        let by_hand = ["KEPT", "ALSO", "MADE", "KEP"].map(|key| is_by_hand(FILE, key));
        assert_eq!(by_hand, [true, true, false, false]);
    }
}
