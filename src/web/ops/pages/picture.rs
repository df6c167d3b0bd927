//! The flow as a picture: the services that handle an order in sequence, and the backlog of each.

use super::words;
use crate::{ops::queues::figures::Figures, services::roster, store::flow::OrderRates};

/// The services that a successful order passes, from left to right. Other services are drawn below.
const WAY: [&str; 3] = ["payment", "inventory", "shipping"];

/// Sizes in SVG units.
const BOX_WIDTH: u32 = 150;
const BOX_HEIGHT: u32 = 92;
const GAP: u32 = 42;

/// A box of the picture.
#[derive(Debug, PartialEq)]
pub struct Node {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// The title.
    pub name: String,
    /// The lines below the title.
    pub lines: Vec<String>,
    /// The CSS class: `good`, `warn` or `bad`.
    pub kind: &'static str,
    /// Whether an arrow leads to it from its left neighbour.
    pub follows: bool,
}

/// The whole picture.
#[derive(Debug, PartialEq)]
pub struct Picture {
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
    /// The boxes.
    pub nodes: Vec<Node>,
}

impl Node {
    /// Returns the horizontal centre.
    pub const fn middle(&self) -> u32 {
        self.x + BOX_WIDTH / 2
    }

    /// Returns each line with its vertical position.
    pub fn placed(&self) -> Vec<(u32, &str)> {
        (1_u32..).zip(&self.lines).map(|(line, text)| (self.y + 26 + 17 * line, text.as_str())).collect()
    }

    /// Returns the horizontal start of the arrow that leads to the box.
    pub const fn arrow(&self) -> u32 {
        self.x.saturating_sub(GAP)
    }
}

/// Draws the known figures.
pub fn picture(orders: Option<OrderRates>, queues: &[Figures]) -> Picture {
    let accepted = words::rate(&orders.map(|rates| rates.accepted));
    let settled = words::rate(&orders.map(|rates| rates.settled));
    let kind = if orders.is_some() { "good" } else { "bad" };
    let mut nodes = vec![node(0, 0, "orders", vec![format!("{accepted}/s accepted")], kind)];
    for (place, service) in (1..).zip(WAY) {
        nodes.push(Node { follows: true, ..of_service(place, 0, service, queues) });
    }
    let end = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    nodes.push(Node { follows: true, ..node(end, 0, "settled", vec![format!("{settled}/s")], kind) });
    let others = roster().names().into_iter().filter(|service| !WAY.contains(service));
    for (place, service) in (1..).zip(others) {
        nodes.push(of_service(place, 1, service, queues));
    }
    Picture { width: 5 * BOX_WIDTH + 4 * GAP, height: 2 * BOX_HEIGHT + GAP / 2, nodes }
}

fn node(column: u32, row: u32, name: &str, lines: Vec<String>, kind: &'static str) -> Node {
    let (x, y) = (column * (BOX_WIDTH + GAP), row * (BOX_HEIGHT + GAP / 2));
    Node { x, y, name: name.to_owned(), lines, kind, follows: false }
}

fn of_service(column: u32, row: u32, service: &str, queues: &[Figures]) -> Node {
    let own: Vec<_> = queues.iter().filter(|one| one.queue.split('.').next() == Some(service)).collect();
    let whole = |of: fn(&Figures) -> Option<u32>| own.iter().map(|one| of(one)).sum::<Option<u32>>();
    let handled: Option<f64> = own.iter().map(|one| one.handled_per_second).sum();
    let (ready, dead) = (whole(|one| one.ready), whole(|one| one.dead_letters));
    let nobody = own.iter().any(|one| one.consumers == Some(0));
    let lines = vec![
        format!("{}/s", words::rate(&handled)),
        format!("{} waiting", words::number(&ready)),
        match (nobody, dead) {
            (true, _) => "a queue has no worker".to_owned(),
            (false, dead) => format!("{} dead", words::number(&dead)),
        },
    ];
    let kind = match (nobody, dead) {
        (true, _) => "bad",
        (false, Some(0)) => "good",
        (false, _) => "warn",
    };
    node(column, row, service, lines, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_in_the_picture_and_inside_its_frame() {
        let queue = |queue: String| Figures {
            queue,
            ready: Some(2),
            consumers: Some(1),
            dead_letters: Some(0),
            handled_per_second: Some(1.5),
            ..Figures::default()
        };
        let mut queues: Vec<_> = roster().subscriptions().iter().map(|one| queue(one.queue())).collect();
        let drawn = picture(None, &queues);
        for service in roster().names() {
            let node = drawn.nodes.iter().find(|node| node.name == service).expect(service);
            assert!(node.kind == "good" && node.lines.iter().any(|line| line.ends_with("/s")), "{node:?}");
        }
        for node in &drawn.nodes {
            assert!(node.x + BOX_WIDTH <= drawn.width && node.y + BOX_HEIGHT <= drawn.height, "{node:?}");
        }
        assert_eq!(drawn.nodes.iter().filter(|node| node.follows).count(), 4);
        queues.iter_mut().for_each(|one| one.consumers = Some(0));
        assert_eq!(picture(None, &queues).nodes[1].kind, "bad");
        queues.iter_mut().for_each(|one| (one.consumers, one.dead_letters) = (None, None));
        assert_eq!(
            (picture(None, &queues).nodes[1].kind, picture(None, &queues).nodes[1].lines[2].as_str()),
            ("warn", "– dead")
        );
    }
}
