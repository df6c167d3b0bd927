//! A customer's entries in the shop's form, before validation.

use serde_json::{Map, Value, json};

/// The prefix of quantity fields, such as `quantity-MUG-BLUE`.
pub const QUANTITY: &str = "quantity-";

/// The most products that one form may contain. An order has at most 50; the page reports that and keeps the rest.
const MOST_PRODUCTS: usize = 100;

/// The entries without surrounding white space. The type has no `Debug`: it holds personal data, which must not be
/// logged.
#[derive(Default)]
pub struct Entered {
    /// The idempotency key of the order.
    pub key: String,
    /// The id of the declined order that this one replaces; may be empty.
    pub replaces: String,
    /// The customer's name.
    pub name: String,
    /// The customer's e-mail address.
    pub email: String,
    /// Street and number.
    pub line1: String,
    /// The rest of the address.
    pub line2: String,
    /// Town.
    pub city: String,
    /// Postal code.
    pub postal_code: String,
    /// State, province or region.
    pub state: String,
    /// The country's two-letter code.
    pub country: String,
    /// Phone number, for the carrier.
    pub phone: String,
    /// The payment method, such as `pm_card_visa`.
    pub method: String,
    /// SKU and quantity of the products in the cart, in the order of the form.
    pub quantities: Vec<(String, String)>,
    /// The total that the page showed, in minor units.
    pub total: String,
    /// The words to search for in products' names.
    pub search: String,
    /// The page of these products, from 1; 0 if not given.
    pub page: usize,
    /// Whether to show the products or the cart again instead of ordering.
    pub only_update: bool,
}

impl Entered {
    /// Reads a form's fields and ignores unknown ones.
    pub fn read(fields: impl Iterator<Item = (String, String)>) -> Self {
        let mut entered = Self::default();
        let (mut shown, mut all) = (0, false);
        for (name, value) in fields {
            let value = value.trim();
            if let Some(sku) = name.strip_prefix(QUANTITY) {
                if !matches!(value, "" | "0") && entered.quantities.len() < MOST_PRODUCTS {
                    entered.quantities.push((sku.to_owned(), value.to_owned()));
                }
            } else if name == "shown" {
                shown = value.parse().unwrap_or_default();
            } else if name == "page" {
                entered.page = value.parse().unwrap_or_default();
                entered.only_update = true;
            } else if matches!(name.as_str(), "update" | "all") {
                entered.only_update = true;
                all |= name == "all";
            } else if let Some(field) = entered.text(&name) {
                value.clone_into(field);
            }
        }
        if all {
            entered.search.clear();
        } else if entered.page == 0 {
            entered.page = shown;
        }
        entered
    }

    /// Returns the text field with this name.
    pub fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "key" => &mut self.key,
            "replaces" => &mut self.replaces,
            "name" => &mut self.name,
            "email" => &mut self.email,
            "line1" => &mut self.line1,
            "line2" => &mut self.line2,
            "city" => &mut self.city,
            "postal_code" => &mut self.postal_code,
            "state" => &mut self.state,
            "country" => &mut self.country,
            "phone" => &mut self.phone,
            "method" => &mut self.method,
            "q" => &mut self.search,
            "total" => &mut self.total,
            _ => return None,
        })
    }

    /// Returns the entry for this product's quantity.
    pub fn quantity(&self, sku: &str) -> Option<&str> {
        self.quantities.iter().find(|(one, _)| one == sku).map(|(_, quantity)| quantity.as_str())
    }

    /// Returns the total that the customer saw, in minor units; 0 if none was shown.
    pub fn shown_total(&self) -> i64 {
        self.total.parse().unwrap_or_default()
    }

    /// Returns the entries as a body of `POST /orders`, so that the same rules validate them. Empty fields are omitted,
    /// and invalid numbers are kept as text: the rules report both.
    pub fn order(&self) -> Value {
        fn object(fields: &[(&str, &String)]) -> Value {
            let given = fields.iter().filter(|(_, text)| !text.is_empty());
            Value::Object(given.map(|(name, text)| ((*name).to_owned(), json!(text))).collect())
        }
        let item = |(sku, quantity): &(String, String)| {
            let quantity = quantity.parse::<i64>().map_or_else(|_| json!(quantity), |number| json!(number));
            json!({ "sku": sku, "quantity": quantity })
        };
        let mut order = Map::new();
        order.insert("customer".to_owned(), object(&[("name", &self.name), ("email", &self.email)]));
        let address = [
            ("line1", &self.line1),
            ("line2", &self.line2),
            ("city", &self.city),
            ("postal_code", &self.postal_code),
            ("state", &self.state),
            ("country", &self.country),
            ("phone", &self.phone),
        ];
        order.insert("shipping_address".to_owned(), object(&address));
        order.insert("items".to_owned(), Value::Array(self.quantities.iter().map(item).collect()));
        order.insert("payment".to_owned(), object(&[("method", &self.method)]));
        if !self.replaces.is_empty() {
            order.insert("replaces".to_owned(), json!(self.replaces));
        }
        Value::Object(order)
    }

    /// Returns the name of the field that a JSON pointer into [`Entered::order`] names; `None` for the cart as a whole.
    pub fn field(&self, pointer: &str) -> Option<String> {
        let last = pointer.rsplit('/').next()?;
        if let Some(rest) = pointer.strip_prefix("#/items/") {
            let place: usize = rest.split('/').next()?.parse().ok()?;
            return self.quantities.get(place).map(|(sku, _)| format!("{QUANTITY}{sku}"));
        }
        (pointer != "#/items").then(|| last.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{body::LARGEST, pages::shelves::PER_PAGE};

    fn read(fields: &[(&str, &str)]) -> Entered {
        Entered::read(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_form_becomes_the_body_of_the_same_order() {
        let entered = read(&[
            ("name", " Ada "),
            ("email", "ada@example.com"),
            ("line1", "1 Main Street"),
            ("line2", " "),
            ("city", "Berlin"),
            ("postal_code", "10115"),
            ("country", "DE"),
            ("method", "pm_card_visa"),
            ("quantity-MUG-BLUE", "2"),
            ("quantity-MUG-SAND", "0"),
            ("quantity-FILTER-100", "many"),
            ("quantity-TEAPOT-1L", ""),
            ("something", "else"),
        ]);
        assert_eq!(
            entered.order(),
            json!({
                "customer": { "name": "Ada", "email": "ada@example.com" },
                "shipping_address": { "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE" },
                "items": [{ "sku": "MUG-BLUE", "quantity": 2 }, { "sku": "FILTER-100", "quantity": "many" }],
                "payment": { "method": "pm_card_visa" },
            })
        );
        assert!(!entered.only_update);
    }

    #[test]
    fn only_a_button_changes_which_products_are_shown() {
        let stays = read(&[("q", " mug "), ("shown", "3")]);
        assert_eq!((stays.search.as_str(), stays.page, stays.only_update), ("mug", 3, false));
        let next = read(&[("q", "mug"), ("shown", "3"), ("page", "4")]);
        assert_eq!((next.search.as_str(), next.page, next.only_update), ("mug", 4, true));
        let all = read(&[("all", "1"), ("q", "mug"), ("shown", "3")]);
        assert_eq!((all.search.as_str(), all.page, all.only_update), ("", 0, true));
        assert_eq!(read(&[("page", "nonsense")]).page, 0);
    }

    /// The page has a field for each of its 24 products and for each product chosen on other pages. SKUs have at most
    /// 32 ASCII characters; one character of a text takes at most 12 bytes in a form.
    #[test]
    fn the_largest_form_of_the_page_fits_into_a_body() {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for number in 0..PER_PAGE + MOST_PRODUCTS {
            form.append_pair(&format!("{QUANTITY}{number:032}"), "99");
        }
        for (name, longest) in [
            ("name", 200),
            ("email", 254),
            ("line1", 200),
            ("line2", 200),
            ("city", 100),
            ("postal_code", 20),
            ("state", 100),
            ("phone", 40),
            ("key", 36),
            ("method", 67),
            ("country", 2),
            ("replaces", 36),
            ("q", 100),
        ] {
            form.append_pair(name, &"😀".repeat(longest));
        }
        let length = form.finish().len();
        assert!(length < LARGEST * 3 / 4, "{length} of {LARGEST}");
    }

    #[test]
    fn each_pointer_leads_to_its_field() {
        let entered = read(&[("quantity-MUG-BLUE", "2"), ("quantity-GONE", "1")]);
        for (pointer, field) in [
            ("#/customer/name", Some("name")),
            ("#/shipping_address/postal_code", Some("postal_code")),
            ("#/items/1/sku", Some("quantity-GONE")),
            ("#/items/0/quantity", Some("quantity-MUG-BLUE")),
            ("#/items/0", Some("quantity-MUG-BLUE")),
            ("#/items", None),
            ("#/items/7/sku", None),
        ] {
            assert_eq!(entered.field(pointer).as_deref(), field, "{pointer}");
        }
    }
}
