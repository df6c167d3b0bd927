//! Two orders that want the last piece, decided by two workers at the same time.

use stateright::{Model, Property};

use crate::Safeguard;

/// A worker's progress with its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deciding {
    /// Not begun.
    Waiting,
    /// Has read this stock, and holds the lock if there is one.
    Seen(u8),
    /// Decided, and committed.
    Decided {
        /// Whether the order got a piece.
        reserved: bool,
    },
}

/// The last piece, and two orders for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stock {
    /// Pieces in stock; must never be negative.
    pub available: i8,
    /// The orders.
    pub orders: [Deciding; 2],
}

/// A worker's next step with its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Next(pub usize);

/// One piece, two orders.
#[derive(Debug, Clone, Copy)]
pub struct StockModel {
    /// The safeguard left out.
    pub without: Option<Safeguard>,
}

impl Model for StockModel {
    type State = Stock;
    type Action = Next;

    fn init_states(&self) -> Vec<Stock> {
        vec![Stock { available: 1, orders: [Deciding::Waiting; 2] }]
    }

    fn actions(&self, stock: &Stock, actions: &mut Vec<Next>) {
        let locks = self.without != Some(Safeguard::StockLock);
        let locked = locks && stock.orders.iter().any(|one| matches!(one, Deciding::Seen(_)));
        for (order, deciding) in stock.orders.iter().enumerate() {
            match deciding {
                Deciding::Waiting if locked => {}
                Deciding::Waiting | Deciding::Seen(_) => actions.push(Next(order)),
                Deciding::Decided { .. } => {}
            }
        }
    }

    fn next_state(&self, before: &Stock, Next(order): Next) -> Option<Stock> {
        let mut stock = before.clone();
        stock.orders[order] = match stock.orders[order] {
            Deciding::Waiting => Deciding::Seen(u8::try_from(stock.available).unwrap_or(0)),
            Deciding::Seen(pieces) => {
                stock.available -= i8::from(pieces > 0);
                Deciding::Decided { reserved: pieces > 0 }
            }
            decided @ Deciding::Decided { .. } => decided,
        };
        Some(stock)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is oversold", |_, stock: &Stock| stock.available >= 0),
            Property::sometimes("the last piece is sold", |_, stock: &Stock| stock.available == 0),
        ]
    }
}
