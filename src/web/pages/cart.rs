//! Products and the cart as the shop's page shows them.

use crate::{
    domain,
    store::catalogue::Product,
    web::{
        catalogue::Catalogue,
        pages::{assets, entered::Entered},
    },
};

/// A product on its shelf.
pub struct Shelf {
    /// What orders name it by.
    pub sku: String,
    /// What people call it.
    pub name: String,
    /// `14.99 EUR`.
    pub price: String,
    /// In minor units, for the script that adds up.
    pub minor_units: i64,
    /// ISO 4217.
    pub currency: String,
    /// Of the currency.
    pub decimals: u16,
    /// Its address.
    pub picture: String,
    /// Nobody can have one now.
    pub sold_out: bool,
    /// What was entered; empty for none.
    pub quantity: String,
    /// What is wrong with that.
    pub error: Option<String>,
}

/// What is in the cart, as far as it can be priced.
#[derive(Default)]
pub struct Cart {
    /// One for each product.
    pub lines: Vec<Line>,
    /// What all of them cost; `None` for an empty cart, and where that cannot be said.
    pub total: Option<String>,
}

/// One product in the cart.
pub struct Line {
    /// What people call it.
    pub name: String,
    /// Pieces.
    pub quantity: i32,
    /// What they cost.
    pub amount: String,
}

impl Shelf {
    /// All products, with what was entered for each.
    pub fn all(catalogue: &Catalogue, entered: &Entered) -> Vec<Self> {
        catalogue.products().iter().map(|product| Self::new(product, entered)).collect()
    }

    fn new(product: &Product, entered: &Entered) -> Self {
        let Product { sku, name, price, currency, available } = product;
        Self {
            sku: sku.clone(),
            name: name.clone(),
            price: money(*price, currency),
            minor_units: *price,
            currency: currency.clone(),
            decimals: domain::decimals(currency).unwrap_or(0),
            picture: assets::picture(sku),
            sold_out: *available == 0,
            quantity: entered.quantity(sku).unwrap_or_default().to_owned(),
            error: None,
        }
    }

    /// Whether it is in the cart.
    pub fn chosen(&self) -> bool {
        !self.quantity.is_empty()
    }
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
            quantity: *quantity,
            amount: money(product.price.saturating_mul(i64::from(*quantity)), &product.currency),
        };
        let total = domain::total(priced.iter().map(|(product, quantity)| (product.price, *quantity))).ok();
        let currency = priced.first().map(|(product, _)| product.currency.as_str());
        Self {
            total: total.zip(currency).map(|(total, currency)| money(total, currency)),
            lines: priced.iter().map(line).collect(),
        }
    }
}

/// `14.99 EUR`; a wrong amount is worse than none.
pub fn money(minor_units: i64, currency: &str) -> String {
    domain::format_money(minor_units, currency).unwrap_or_else(|| "–".to_owned())
}
