//! The products that the shop's page shows: a part of the catalogue, so that a page and its form stay small however much the
//! shop has. What was chosen on other pages is in the cart, with its field.

use orderflow_order::{domain, placing::catalogue::Catalogue, store::catalogue::Product};

use super::{assets, cart::money, entered::Entered};

/// Products on one page. With 24 the page weighs about as much as its stylesheet and scripts.
pub const PER_PAGE: usize = 24;

/// What the page shows of the catalogue.
#[derive(Default)]
pub struct Shelves {
    /// This part of what was looked for.
    pub shown: Vec<Shelf>,
    /// What was chosen and is not among them.
    pub elsewhere: Vec<Shelf>,
    /// Which part, from 1 on.
    pub page: usize,
    /// How many parts there are, at least 1.
    pub pages: usize,
    /// How many products there are of which the page shows a part.
    pub found: usize,
    /// The shop has more products than one page shows: they can be searched.
    pub searchable: bool,
}

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
    /// What that many pieces cost; empty where it is no number of pieces.
    pub amount: String,
    /// What is wrong with that.
    pub error: Option<String>,
}

impl Shelves {
    /// Looks for what was entered; of too high a page the last.
    pub fn new(catalogue: &Catalogue, entered: &Entered) -> Self {
        let words: Vec<String> = entered.search.split_whitespace().map(str::to_lowercase).collect();
        let is_like = |product: &&Product| {
            words.is_empty() || {
                let text = format!("{} {}", product.name, product.sku).to_lowercase();
                words.iter().all(|word| text.contains(word.as_str()))
            }
        };
        let all = catalogue.products();
        let found: Vec<&Product> = all.iter().filter(is_like).collect();
        let pages = found.len().div_ceil(PER_PAGE).max(1);
        let page = entered.page.clamp(1, pages);
        let shown: Vec<_> =
            found.iter().skip((page - 1) * PER_PAGE).take(PER_PAGE).map(|one| Shelf::new(one, entered)).collect();
        let is_shown = |sku: &str| shown.iter().any(|shelf| shelf.sku == sku);
        let elsewhere = entered.quantities.iter().filter(|(sku, _)| !is_shown(sku));
        let elsewhere = elsewhere.filter_map(|(sku, _)| catalogue.get(sku));
        Self {
            elsewhere: elsewhere.map(|one| Shelf::new(one, entered)).collect(),
            page,
            pages,
            found: found.len(),
            searchable: all.len() > PER_PAGE,
            shown,
        }
    }

    /// Every shelf that has a field.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Shelf> {
        self.shown.iter_mut().chain(&mut self.elsewhere)
    }

    /// Whether this product is among those that are shown.
    pub fn is_shown(&self, sku: &str) -> bool {
        self.shown.iter().any(|shelf| shelf.sku == sku)
    }

    /// `25 to 48 of 3000 products`.
    pub fn sentence(&self) -> String {
        let first = (self.page.saturating_sub(1)) * PER_PAGE + 1;
        match (self.found, self.shown.len()) {
            (0, _) => "No product is like that.".to_owned(),
            (1, _) => "1 product".to_owned(),
            (found, shown) if found == shown => format!("{found} products"),
            (found, shown) => format!("{first} to {} of {found} products", first + shown - 1),
        }
    }
}

impl Shelf {
    fn new(product: &Product, entered: &Entered) -> Self {
        let Product { sku, name, price, currency, available } = product;
        let quantity = entered.quantity(sku).unwrap_or_default();
        let pieces = quantity.parse::<i64>().ok().filter(|pieces| (1..=99).contains(pieces));
        Self {
            sku: sku.clone(),
            name: name.clone(),
            price: money(*price, currency),
            minor_units: *price,
            currency: currency.clone(),
            decimals: domain::decimals(currency).unwrap_or(0),
            picture: assets::picture(sku),
            sold_out: *available == 0,
            quantity: quantity.to_owned(),
            amount: pieces.map(|pieces| money(price.saturating_mul(pieces), currency)).unwrap_or_default(),
            error: None,
        }
    }

    /// Whether it is in the cart.
    pub fn chosen(&self) -> bool {
        !self.quantity.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(products: usize) -> Catalogue {
        let product = |number| Product {
            sku: format!("SKU-{number:04}"),
            name: if number % 100 == 0 { format!("Blue mug {number}") } else { format!("Thing {number}") },
            price: 100,
            currency: "EUR".to_owned(),
            available: 5,
        };
        Catalogue::new((1..=products).map(product).collect())
    }

    fn entered(fields: &[(&str, &str)]) -> Entered {
        Entered::read(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn three_thousand_products_are_shown_in_parts_and_none_is_left_out() {
        let catalogue = catalogue(3000);
        let mut seen = Vec::new();
        for page in 1..=125 {
            let shelves = Shelves::new(&catalogue, &entered(&[("page", &page.to_string())]));
            assert_eq!((shelves.page, shelves.pages, shelves.searchable), (page, 125, true));
            seen.extend(shelves.shown.into_iter().map(|shelf| shelf.sku));
        }
        let all: Vec<_> = catalogue.products().iter().map(|product| product.sku.clone()).collect();
        assert_eq!(seen, all);
        let beyond = Shelves::new(&catalogue, &entered(&[("page", "4000000000")]));
        assert_eq!((beyond.page, beyond.sentence().as_str()), (125, "2977 to 3000 of 3000 products"));
        assert_eq!(Shelves::new(&catalogue, &entered(&[])).sentence(), "1 to 24 of 3000 products");
    }

    #[test]
    fn what_is_chosen_stays_in_the_form_whatever_is_shown() {
        let catalogue = catalogue(3000);
        let fields = [("quantity-SKU-0100", "2"), ("quantity-SKU-0001", "1"), ("q", "MUG blue"), ("page", "1")];
        let shelves = Shelves::new(&catalogue, &entered(&fields));
        let named = |shelves: &[Shelf]| shelves.iter().map(|one| one.sku.clone()).collect::<Vec<_>>();
        assert_eq!((shelves.found, named(&shelves.elsewhere)), (30, vec!["SKU-0001".to_owned()]));
        assert_eq!((shelves.shown[0].quantity.as_str(), shelves.shown[0].amount.as_str()), ("2", "2.00 EUR"));
        let none = Shelves::new(&catalogue, &entered(&[("q", "teapot"), ("quantity-SKU-0100", "x")]));
        assert_eq!((none.sentence().as_str(), none.elsewhere[0].amount.as_str()), ("No product is like that.", ""));
    }

    #[test]
    fn a_small_shop_is_one_page() {
        let shelves = Shelves::new(&catalogue(12), &Entered::default());
        assert_eq!((shelves.shown.len(), shelves.pages, shelves.searchable), (12, 1, false));
    }
}
