//! Draws the model on the screen. Problems show as a word or a mark, not only as a colour.

use orderflow_service::store::{failures::RecentFailure, outbox::Depths};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Paragraph, Table},
};

use super::model::{Model, Row, Server};
use crate::ops::{queues::report::rate, words::short_span};

/// Rows that are always used: two for the head, an empty one, the table's head, an empty one, the headline of the
/// failures, the keys.
const FRAME: usize = 7;

/// The rows that failed attempts get even on a low screen, if there are that many.
const FAILURES: usize = 4;

/// Stands for an unknown value in a table.
const UNKNOWN: &str = "-";

/// Bars of heights one to eight.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, model: &Model) {
    let area = frame.area();
    let height = usize::from(area.height);
    let troubles: Vec<_> = [&model.broker, &model.database].into_iter().filter_map(trouble).collect();
    let mut failures = failures(model);
    let rest = height.saturating_sub(FRAME + troubles.len());
    let shown = model.shown(rest.saturating_sub(failures.len().min(FAILURES)).max(1));
    failures.truncate(rest.saturating_sub(shown.len()));
    let parts = [2, rows_of(troubles.len()), 1, 1 + rows_of(shown.len()), 1, 1 + rows_of(failures.len()), 0, 1];
    let mut constraints = parts.map(Constraint::Length);
    constraints[6] = Constraint::Fill(1);
    let [head, trouble, _, table, _, failed, _, keys] = Layout::vertical(constraints).areas(area);
    frame.render_widget(Paragraph::new(vec![title(model, area.width), orders(model)]), head);
    frame.render_widget(Paragraph::new(troubles), trouble);
    frame.render_widget(queues(model, &shown, table), table);
    let headline = Line::from("last failed attempts").bold();
    frame.render_widget(Paragraph::new([vec![headline], failures].concat()), failed);
    frame.render_widget(Paragraph::new(hint(model, shown.len())), keys);
}

fn rows_of(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Returns the style of problems.
fn wrong() -> Style {
    Style::new().fg(Color::Red).bold()
}

fn title(model: &Model, width: u16) -> Line<'static> {
    let left = format!("orderflow top  {}", model.now.format("%F %T UTC"));
    let state = |name: &str, server: &Server| match server {
        Server::Asking => format!("{name} …"),
        Server::Ok => format!("{name} ok"),
        Server::Away(_) => format!("{name} DOWN"),
    };
    let right = format!("{}  {}", state("RabbitMQ", &model.broker), state("PostgreSQL", &model.database));
    let gap = usize::from(width).saturating_sub(left.chars().count() + right.chars().count()).max(1);
    Line::from(format!("{left}{}{right}", " ".repeat(gap))).reversed()
}

fn orders(model: &Model) -> Line<'static> {
    let Some(view) = model.view() else { return Line::from("orders: unknown") };
    let mut spans = vec![
        Span::raw("orders "),
        Span::raw(format!("{}/s in", rate(view.orders.accepted))).bold(),
        Span::raw(", "),
        Span::raw(format!("{}/s settled", rate(view.orders.settled))).bold(),
    ];
    if let Some(outbox) = view.outbox.as_ref().map(Depths::all) {
        spans.push(Span::raw(match outbox.rows {
            0 => "   outbox empty".to_owned(),
            rows => format!("   outbox {rows}, oldest {}", short_span(outbox.oldest_seconds)),
        }));
    }
    match model.refusing() {
        Some(true) => spans.push(Span::styled("   ORDERS ARE REFUSED", wrong())),
        Some(false) => spans.push(Span::raw("   accepting orders")),
        None => {}
    }
    Line::from(spans)
}

fn trouble(server: &Server) -> Option<Line<'static>> {
    match server {
        Server::Away(why) => Some(Line::styled(plain(why), wrong())),
        Server::Asking | Server::Ok => None,
    }
}

/// A column: the screen width from which it appears, its own width, its head, and how its cells are made.
struct Column {
    from: u16,
    width: u16,
    head: &'static str,
    cell: fn(&Row) -> (String, bool),
}

const fn column(from: u16, width: u16, head: &'static str, cell: fn(&Row) -> (String, bool)) -> Column {
    Column { from, width, head, cell }
}

/// The columns after the queue's name and history. The second value of a cell marks a problem.
const COLUMNS: [Column; 10] = [
    column(0, 6, "ready", |row| (number(row.figures.ready), row.figures.drains == Some(false))),
    column(0, 5, "held", |row| (number(row.figures.unacknowledged), false)),
    column(0, 5, "in/s", |row| (known(row.arrivals_now.map(rate)), false)),
    column(0, 5, "out/s", |row| (known(row.figures.handled_per_second.map(rate)), false)),
    column(112, 6, "takes", |row| (known(row.figures.processing_seconds.map(short_span)), false)),
    column(0, 6, "lag", |row| (known(row.figures.lag_seconds.map(short_span)), false)),
    column(0, 5, "err/s", |row| {
        let failures = row.figures.failures_per_second;
        (known(failures.map(rate)), failures.is_some_and(|failures| failures > 0.0))
    }),
    column(112, 5, "retry", |row| (known(row.figures.retries_waiting.map(|number| number.to_string())), false)),
    column(0, 5, "dead", |row| {
        (number(row.figures.dead_letters), row.figures.dead_letters.is_some_and(|dead| dead > 0))
    }),
    column(0, 6, "procs", processes),
];

/// Returns processes and need: `1/3!` is one process where three are needed.
fn processes(row: &Row) -> (String, bool) {
    let figures = &row.figures;
    let (there, needed) = (number(figures.consumers), number(figures.processes_needed));
    match (figures.paused, figures.consumers) {
        (_, Some(0)) => ("none!".to_owned(), true),
        (Some(true), _) => ("paused".to_owned(), true),
        _ if figures.needs_more() => (format!("{there}/{needed}!"), true),
        _ => (format!("{there}/{needed}"), false),
    }
}

fn number(number: Option<u32>) -> String {
    known(number.map(|number| match number {
        0..1_000_000 => number.to_string(),
        more => format!("{}M", more / 1_000_000),
    }))
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The screen width from which each queue's history is shown.
const WITH_PAST: u16 = 100;

/// The width of the longest queue name.
const NAME: u16 = 31;

fn queues(model: &Model, shown: &[&Row], area: Rect) -> Table<'static> {
    let columns: Vec<_> = COLUMNS.iter().filter(|column| area.width >= column.from).collect();
    let taken: u16 = columns.iter().map(|column| column.width + 1).sum();
    let left = area.width.saturating_sub(taken);
    let past = if area.width >= WITH_PAST { left.saturating_sub(NAME + 1).min(60) } else { 0 };
    let name = if past > 0 { NAME } else { left.min(NAME) };
    let row = |row: &&Row| {
        let mut cells = vec![Line::from(shortened(&row.figures.queue, usize::from(name)))];
        if past > 0 {
            cells.push(Line::from(bars(model, &row.figures.queue, usize::from(past))));
        }
        cells.extend(columns.iter().map(|column| {
            let (text, bad) = (column.cell)(row);
            let style = if bad { wrong() } else { Style::new() };
            Line::styled(text, style).right_aligned()
        }));
        let style = if row.figures.is_quiet() { Style::new().dim() } else { Style::new() };
        ratatui::widgets::Row::new(cells).style(style)
    };
    let mut heads = vec![Line::from("queue")];
    if past > 0 {
        heads.push(Line::from(shortened("ready, last seconds", usize::from(past))));
    }
    heads.extend(columns.iter().map(|column| Line::from(column.head).right_aligned()));
    let widths = [name].into_iter().chain((past > 0).then_some(past)).chain(columns.iter().map(|column| column.width));
    Table::new(shown.iter().map(row), widths.map(Constraint::Length))
        .header(ratatui::widgets::Row::new(heads).style(Style::new().bold().underlined()))
        .column_spacing(1)
}

/// Returns a queue's history as bars, the present at the right. A few messages never fill a bar.
fn bars(model: &Model, queue: &str, width: usize) -> String {
    let past: Vec<_> = model.past(queue).rev().take(width).collect();
    if past.iter().all(|ready| ready.is_none_or(|ready| ready == 0)) {
        // A line of empty bars would only distract.
        return String::new();
    }
    let most = past.iter().copied().flatten().max().unwrap_or(0).max(8);
    let bar = |ready: &Option<u32>| {
        let Some(ready) = ready else { return ' ' };
        // Round up, so that a single message is visible.
        let height = (u64::from(*ready) * 7).div_ceil(u64::from(most));
        usize::try_from(height).ok().and_then(|height| BARS.get(height)).copied().unwrap_or('█')
    };
    let bars: String = past.iter().rev().map(bar).collect();
    format!("{bars:>width$}")
}

fn failures(model: &Model) -> Vec<Line<'static>> {
    let failures = model.view().map(|view| view.failures.as_slice()).unwrap_or_default();
    if failures.is_empty() {
        let none = if model.view().is_some() { "none" } else { "unknown" };
        return vec![Line::from(none)];
    }
    failures.iter().map(failure).collect()
}

fn failure(failure: &RecentFailure) -> Line<'static> {
    let what = format!("{}  {}  #{} ", failure.failed_at.format("%T"), failure.subscription, failure.attempt);
    let then = match &failure.retry_at {
        Some(again) => Span::raw(format!("again {}", again.format("%T"))),
        None => Span::styled("DEAD LETTER", wrong()),
    };
    Line::from(vec![Span::raw(what), then, Span::raw(format!(": {}", plain(&failure.reason)))])
}

fn hint(model: &Model, shown: usize) -> Line<'static> {
    let all = model.queues();
    let of = if shown < all { format!("   {shown} of {all} queues") } else { String::new() };
    Line::from(format!("q quit  a all queues  ↑↓ scroll{of}")).dim()
}

/// Replaces control characters, so that foreign text cannot move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::{gather::Said, sample},
        *,
    };

    fn drawn(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| draw(frame, model)).expect("it can be drawn on");
        terminal.backend().to_string()
    }

    #[test]
    fn a_wide_screen_shows_every_queue() {
        insta::assert_snapshot!(drawn(&sample::busy(), 130, 42));
    }

    #[test]
    fn small_screen_shows_queues_with_activity() {
        insta::assert_snapshot!(drawn(&sample::busy(), 80, 24));
    }

    #[test]
    fn readme_shows_the_small_screen() {
        let readme = include_str!("../../../README.md");
        // README.md omits the title line, which looks like a command, and the keys.
        for line in drawn(&sample::busy(), 80, 24).lines().skip(1).take(12) {
            let line = line.trim_matches('"').trim_end();
            assert!(readme.contains(line), "README.md does not show {line:?}");
        }
    }

    #[test]
    fn unavailable_server_is_named_and_the_rest_is_shown() {
        let mut model = sample::busy();
        model.hear(Said::Broker(Err("RabbitMQ's management API at http://h:15672 cannot be reached".to_owned())));
        insta::assert_snapshot!(drawn(&model, 80, 24));
    }

    #[test]
    fn no_screen_is_too_small_to_be_drawn_on() {
        let mut away = sample::busy();
        away.hear(Said::Broker(Err("cut".to_owned())));
        away.hear(Said::Database(Box::new(Err("cut".to_owned()))));
        for model in [sample::empty(), sample::busy(), away] {
            for (width, height) in [(1, 1), (10, 3), (40, 8), (99, 10), (100, 10), (400, 200)] {
                drawn(&model, width, height);
            }
        }
    }

    #[test]
    fn single_message_is_visible_and_a_few_do_not_fill_a_bar() {
        let model = sample::busy();
        let bars_of = |queue| bars(&model, queue, 10);
        assert_eq!(bars_of("inventory.payment-completed"), "");
        assert!(bars(&model, "payment.order-created", 40).starts_with('▁'), "it was empty once");
        assert_eq!(bars_of("order.payment-completed"), "▄▄▄▄▄▄▄▄▄▄");
        assert!(bars_of("payment.order-created").ends_with('█'));
        assert_eq!(bars(&sample::empty(), "payment.order-created", 4), "");
    }
}
