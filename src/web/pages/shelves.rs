//! The products on the shop's page: one page of the catalogue, so that the page and its form stay small in a large
//! shop. Products chosen on other pages are in the cart, with their fields.

use orderflow_order::{domain, placing::catalogue::Catalogue, store::catalogue::Product};

use super::{assets, cart::money, entered::Entered};

/// The number of products on one page. With 24, the page is about as large as its stylesheet and scripts.
pub const PER_PAGE: usize = 24;

/// The part of the catalogue that the page shows.
#[derive(Default)]
pub struct Shelves {
    /// The products on this page.
    pub shown: Vec<Shelf>,
    /// Chosen products that are not on this page.
    pub elsewhere: Vec<Shelf>,
    /// The number of this page, from 1.
    pub page: usize,
    /// The number of pages, at least 1.
    pub pages: usize,
    /// The number of products on all pages.
    pub found: usize,
    /// Whether the page offers a search: the shop has more products than fit on one page.
    pub searchable: bool,
}

/// A product on the page.
pub struct Shelf {
    /// The SKU.
    pub sku: String,
    /// The product's name.
    pub name: String,
    /// The formatted price, such as `14.99 EUR`.
    pub price: String,
    /// The price in minor units, for the script that adds up the cart.
    pub minor_units: i64,
    /// ISO 4217.
    pub currency: String,
    /// The currency's decimals.
    pub decimals: u16,
    /// The path of the picture.
    pub picture: String,
    /// Whether the product is sold out.
    pub sold_out: bool,
    /// The quantity entered; empty if none.
    pub quantity: String,
    /// The formatted price of that quantity; empty for an invalid quantity.
    pub amount: String,
    /// The error in the quantity.
    pub error: Option<String>,
}

impl Shelves {
    /// Searches the catalogue for the words entered. A page number that is too high selects the last page.
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

    /// Returns every product that has a field.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Shelf> {
        self.shown.iter_mut().chain(&mut self.elsewhere)
    }

    /// Returns whether this product is on this page.
    pub fn is_shown(&self, sku: &str) -> bool {
        self.shown.iter().any(|shelf| shelf.sku == sku)
    }

    /// Returns which products are shown, such as `25 to 48 of 3000 products`.
    pub fn sentence(&self) -> String {
        let first = (self.page.saturating_sub(1)) * PER_PAGE + 1;
        match (self.found, self.shown.len()) {
            (0, _) => "No product matches.".to_owned(),
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

    /// Returns whether the product is in the cart.
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
    fn each_of_three_thousand_products_is_on_exactly_one_page() {
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
    fn chosen_products_stay_in_the_form_on_every_page() {
        let catalogue = catalogue(3000);
        let fields = [("quantity-SKU-0100", "2"), ("quantity-SKU-0001", "1"), ("q", "MUG blue"), ("page", "1")];
        let shelves = Shelves::new(&catalogue, &entered(&fields));
        let named = |shelves: &[Shelf]| shelves.iter().map(|one| one.sku.clone()).collect::<Vec<_>>();
        assert_eq!((shelves.found, named(&shelves.elsewhere)), (30, vec!["SKU-0001".to_owned()]));
        assert_eq!((shelves.shown[0].quantity.as_str(), shelves.shown[0].amount.as_str()), ("2", "2.00 EUR"));
        let none = Shelves::new(&catalogue, &entered(&[("q", "teapot"), ("quantity-SKU-0100", "x")]));
        assert_eq!((none.sentence().as_str(), none.elsewhere[0].amount.as_str()), ("No product matches.", ""));
    }

    #[test]
    fn a_small_shop_is_one_page() {
        let shelves = Shelves::new(&catalogue(12), &Entered::default());
        assert_eq!((shelves.shown.len(), shelves.pages, shelves.searchable), (12, 1, false));
    }
}
