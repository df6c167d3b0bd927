//! The cart as the shop's page shows it.

use orderflow_order::{domain, placing::catalogue::Catalogue, store::catalogue::Product};

use crate::web::pages::entered::Entered;
/// The priced content of the cart.
#[derive(Default)]
pub struct Cart {
    /// One line per product.
    pub lines: Vec<Line>,
    /// The formatted total; `None` for an empty cart or if the total is out of range.
    pub total: Option<String>,
    /// The total in minor units; 0 without a total.
    pub minor_units: i64,
    /// ISO 4217; `None` for an empty cart.
    currency: Option<String>,
}

/// One product in the cart.
pub struct Line {
    /// The product's name.
    pub name: String,
    /// The product's SKU.
    pub sku: String,
    /// The number of pieces.
    pub quantity: i32,
    /// The formatted price of all pieces.
    pub amount: String,
}

impl Cart {
    /// Prices the entries at current prices. Invalid quantities and unknown products are left out; the form shows their
    /// errors.
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

    /// Formats an amount in the cart's currency.
    pub fn money(&self, minor_units: i64) -> Option<String> {
        self.currency.as_deref().map(|currency| money(minor_units, currency))
    }
}

/// Formats an amount, such as `14.99 EUR`. For an unknown currency it returns a dash: a wrong amount is worse than
/// none.
pub fn money(minor_units: i64, currency: &str) -> String {
    domain::format_money(minor_units, currency).unwrap_or_else(|| "–".to_owned())
}
