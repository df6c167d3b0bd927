//! The cart as the shop's page shows it.

use orderflow_order::{domain, placing::catalogue::Catalogue, store::catalogue::Product};

use crate::web::pages::entered::Entered;
/// What is in the cart, as far as it can be priced.
#[derive(Default)]
pub struct Cart {
    /// One for each product.
    pub lines: Vec<Line>,
    /// What all of them cost; `None` for an empty cart, and where that cannot be said.
    pub total: Option<String>,
    /// The same in minor units; 0 where it cannot be said.
    pub minor_units: i64,
    /// ISO 4217; of an empty cart there is none.
    currency: Option<String>,
}

/// One product in the cart.
pub struct Line {
    /// What people call it.
    pub name: String,
    /// What orders name it by.
    pub sku: String,
    /// Pieces.
    pub quantity: i32,
    /// What they cost.
    pub amount: String,
}

impl Cart {
    /// What was entered, priced as it would be now. What is no quantity or no product is told beside its field instead.
    pub fn new(catalogue: &Catalogue, entered: &Entered) -> Self {
        let priced = entered.quantities.iter().filter_map(|(sku, quantity)| {
            let quantity = quantity.parse().ok().filter(|quantity| (1..=99).contains(quantity))?;
            Some((catalogue.get(sku)?, quantity))
        });
        let priced: Vec<(&Product, i32)> = priced.collect();
        let line = |(product, quantity): &(&Product, i32)| Line {
            name: product.name.clone(),
            sku: product.sku.clone(),
            quantity: *quantity,
            amount: money(product.price.saturating_mul(i64::from(*quantity)), &product.currency),
        };
        let total = domain::total(priced.iter().map(|(product, quantity)| (product.price, *quantity))).ok();
        let currency = priced.first().map(|(product, _)| product.currency.as_str());
        Self {
            minor_units: total.filter(|_| currency.is_some()).unwrap_or_default(),
            total: total.zip(currency).map(|(total, currency)| money(total, currency)),
            lines: priced.iter().map(line).collect(),
            currency: currency.map(str::to_owned),
        }
    }

    /// An amount in the currency of the cart.
    pub fn money(&self, minor_units: i64) -> Option<String> {
        self.currency.as_deref().map(|currency| money(minor_units, currency))
    }
}

/// `14.99 EUR`; a wrong amount is worse than none.
pub fn money(minor_units: i64, currency: &str) -> String {
    domain::format_money(minor_units, currency).unwrap_or_else(|| "–".to_owned())
}
