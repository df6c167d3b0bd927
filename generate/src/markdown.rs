//! Text of settings and commands as Markdown.

/// Returns a paragraph in which only back-ticks are markup.
pub fn paragraph(text: &str) -> String {
    let escaped = |(place, part): (usize, &str)| match place % 2 {
        0 => part.replace('*', "\\*").replace('<', "\\<"),
        // Between two back-ticks.
        _ => part.to_owned(),
    };
    text.split('`').enumerate().map(escaped).collect::<Vec<_>>().join("`")
}

/// Returns the same for a table's cell.
pub fn cell(text: &str) -> String {
    paragraph(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_back_ticks_are_markup() {
        let text = "a plain|amqplain of 'payment.*' and `order.*`, <shop@example>";
        assert_eq!(paragraph(text), "a plain|amqplain of 'payment.\\*' and `order.*`, \\<shop@example>");
        assert_eq!(cell(text), "a plain\\|amqplain of 'payment.\\*' and `order.*`, \\<shop@example>");
    }
}
