//! Validates the body of an order and reports every error in it.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::{
    card,
    catalogue::Catalogue,
    fields::{ErrorCode, Errors, FieldError, Found, Object, child},
    order_request::{Address, Customer, OrderRequest, Payment},
};
use crate::{
    domain::{
        self,
        mail_address::{self, NotMailable},
        postal_code::{self, Need},
        stripe::NotChargeable,
    },
    store::orders::Line,
};

/// The message for an order that cannot be replaced. It is the same for every reason, so that it does not reveal
/// whether the order exists.
pub const NOT_REPLACEABLE: &str =
    "Must be the id of one of your orders whose payment was declined; send its token as well.";

/// A valid order, priced from the catalogue.
pub struct Priced {
    /// The request.
    pub request: OrderRequest,
    /// The items with names and prices.
    pub lines: Vec<Line>,
    /// Σ price × quantity, in minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
}

/// Checks a body against the contract and the catalogue.
///
/// # Errors
/// Returns every error in it.
pub fn order(body: &Value, catalogue: &Catalogue) -> Result<Priced, Vec<FieldError>> {
    let mut errors = Errors::default();
    // First, so that no other error is reported for a field that holds a card number.
    card::refuse(body, "#", &mut errors);
    let request = read(body, &mut errors);
    let wanted = wanted(body);
    let priced = price(&wanted, catalogue, &mut errors);
    match (request, priced) {
        (Some(request), Some((lines, total, currency))) if errors.is_empty() => {
            Ok(Priced { request, lines, total, currency })
        }
        _ => Err(errors.into_list()),
    }
}

/// Reads the request as the contract defines it, without the catalogue.
fn read(body: &Value, errors: &mut Errors) -> Option<OrderRequest> {
    let mut order = Object::body(body, errors);
    let customer = customer(order.object("customer", errors), errors);
    let shipping_address = address(order.object("shipping_address", errors), errors);
    if let Some(found) = order.required("items", errors) {
        items(&found, errors);
    }
    let payment = payment(order.object("payment", errors), errors);
    let replaces = match order.optional("replaces") {
        None => Some(None),
        Some(found) => replaces(&found, errors).map(Some),
    };
    let expected_total = order.optional("expected_total").and_then(|found| expected_total(&found, errors));
    order.finish(errors);
    Some(OrderRequest {
        customer: customer?,
        shipping_address: shipping_address?,
        payment: payment?,
        replaces: replaces?,
        expected_total,
    })
}

fn expected_total(found: &Found<'_>, errors: &mut Errors) -> Option<i64> {
    let total = found.value.as_i64().filter(|total| *total >= 0);
    if total.is_none() {
        let code =
            if found.value.is_i64() || found.value.is_u64() { ErrorCode::OutOfRange } else { ErrorCode::WrongType };
        errors.add(&found.pointer, code, "Must be a whole number of minor units, 0 or more.");
    }
    total
}

/// Checks only the form of the id. [`Placing`](super::Placing) checks the order's owner and status.
fn replaces(found: &Found<'_>, errors: &mut Errors) -> Option<Uuid> {
    let id = found.value.as_str().and_then(domain::canonical_id);
    if id.is_none() {
        errors.add(&found.pointer, ErrorCode::NotReplaceable, NOT_REPLACEABLE);
    }
    id
}

fn customer(mut fields: Object<'_>, errors: &mut Errors) -> Option<Customer> {
    let name = fields.text("name", 200, errors);
    let email = fields.required("email", errors).and_then(|found| email(&found, errors));
    fields.finish(errors);
    Some(Customer { name: name?, email: email? })
}

fn email(found: &Found<'_>, errors: &mut Errors) -> Option<String> {
    // Mail to an address longer than the standard allows fails. `mailable` checks the limit in bytes.
    let text = found.text(254, errors)?;
    let (code, detail) = match mail_address::mailable(&text) {
        Ok(_) => return Some(text),
        Err(NotMailable::NotAnAddress) => {
            (ErrorCode::InvalidEmail, "Must be an e-mail address such as ada@example.com.")
        }
        Err(NotMailable::LocalPart) => (
            ErrorCode::UnmailableEmail,
            "Many mail servers do not accept quotes or letters other than a to z before the @: use another address.",
        ),
    };
    errors.add(&found.pointer, code, detail);
    None
}

fn address(mut fields: Object<'_>, errors: &mut Errors) -> Option<Address> {
    let line1 = fields.text("line1", 200, errors);
    let line2 = fields.optional_text("line2", 200, errors);
    let city = fields.text("city", 100, errors);
    let state = fields.optional_text("state", 100, errors);
    let country = fields.required("country", errors).and_then(|found| country(&found, errors));
    let postal_code = postal_code(&mut fields, country.as_deref(), errors);
    let phone = match fields.optional_entry("phone") {
        None => Some(None),
        Some(found) => phone(&found, errors).map(Some),
    };
    fields.finish(errors);
    Some(Address {
        line1: line1?,
        line2: line2?,
        city: city?,
        postal_code: postal_code?,
        country: country?,
        state: state?,
        phone: phone?,
    })
}

/// Reads the postal code. The outer `None` means that it is invalid, or missing in a country that requires one.
fn postal_code(fields: &mut Object<'_>, country: Option<&str>, errors: &mut Errors) -> Option<Option<String>> {
    // Without a valid country it is unknown whether the code is missing or invalid.
    let is_needed = country.is_some_and(|country| postal_code::need(country) == Need::Required);
    let found = if is_needed { fields.required("postal_code", errors) } else { fields.optional_entry("postal_code") };
    let Some(found) = found else { return (!is_needed).then_some(None) };
    let text = found.text(20, errors)?;
    let Some(country) = country else { return Some(Some(text)) };
    let code = postal_code::normalize(country, &text);
    if code.is_none() {
        let detail = format!("Must be a postal code of {country}, such as {}.", postal_code::example(country));
        errors.add(&found.pointer, ErrorCode::InvalidPostalCode, detail);
    }
    code.map(Some)
}

fn phone(found: &Found<'_>, errors: &mut Errors) -> Option<String> {
    let Some(text) = found.value.as_str() else {
        errors.add(&found.pointer, ErrorCode::WrongType, "Must be a string.");
        return None;
    };
    let phone = domain::normalize_phone(text);
    if phone.is_none() {
        let (code, detail) = if domain::looks_like_card_number(text) {
            (ErrorCode::CardNumberRefused, card::REFUSED)
        } else {
            (ErrorCode::InvalidPhone, "Must be a phone number such as +49 30 1234567.")
        };
        errors.add(&found.pointer, code, detail);
    }
    phone
}

fn country(found: &Found<'_>, errors: &mut Errors) -> Option<String> {
    let code = found.value.as_str().filter(|code| rust_iso3166::from_alpha2(code).is_some());
    if code.is_none() {
        let detail = "Must be a country's two letters in upper case (ISO 3166-1 alpha-2), such as DE.";
        errors.add(&found.pointer, ErrorCode::InvalidCountry, detail);
    }
    code.map(str::to_owned)
}

fn payment(mut fields: Object<'_>, errors: &mut Errors) -> Option<Payment> {
    let method = fields.required("method", errors).and_then(|found| method(&found, errors));
    fields.finish(errors);
    Some(Payment { method: method? })
}

fn method(found: &Found<'_>, errors: &mut Errors) -> Option<String> {
    let is_method = |text: &&str| {
        text.strip_prefix("pm_").is_some_and(|rest| {
            (1..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    let method = found.value.as_str().filter(is_method);
    if method.is_none() {
        let detail = "Must be a payment method: pm_ and then 1 to 64 letters, digits or underscores.";
        errors.add(&found.pointer, ErrorCode::InvalidMethod, detail);
    }
    method.map(str::to_owned)
}

/// Checks the form of the items; [`wanted`] reads them.
fn items(found: &Found<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for element in found.list(1, 50, errors) {
        let mut fields = element.object(errors);
        let sku = fields.text("sku", 64, errors);
        if let Some(found) = fields.required("quantity", errors) {
            found.number(1, 99, errors);
        }
        fields.finish(errors);
        if sku.is_some_and(|sku| !seen.insert(sku)) {
            let detail = "This product is already in the list: give one item with the total quantity.";
            errors.add(&child(&element.pointer, "sku"), ErrorCode::DuplicateSku, detail);
        }
    }
}

/// A requested product, whether or not the rest of the request is valid.
struct Wanted<'v> {
    pointer: String,
    sku: &'v str,
    quantity: Option<i32>,
}

/// Returns the items that can be compared with the catalogue, even if the body is invalid elsewhere.
fn wanted(body: &Value) -> Vec<Wanted<'_>> {
    let items = body.get("items").and_then(Value::as_array).into_iter().flatten();
    items
        .take(50)
        .enumerate()
        .filter_map(|(index, item)| {
            let quantity = item.get("quantity").and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
            Some(Wanted { pointer: format!("#/items/{index}"), sku: item.get("sku")?.as_str()?, quantity })
        })
        .collect()
}

fn price(wanted: &[Wanted<'_>], catalogue: &Catalogue, errors: &mut Errors) -> Option<(Vec<Line>, i64, String)> {
    let mut currency: Option<&str> = None;
    let mut lines = Vec::with_capacity(wanted.len());
    for Wanted { pointer, sku, quantity } in wanted {
        let at_sku = child(pointer, "sku");
        let Some(product) = catalogue.get(sku) else {
            errors.add(&at_sku, ErrorCode::UnknownSku, "The shop has no such product.");
            continue;
        };
        if product.available == 0 {
            errors.add(&at_sku, ErrorCode::OutOfStock, "Sold out.");
        } else if quantity.is_some_and(|quantity| i64::from(quantity) > product.available) {
            let detail = format!("Only {} left.", product.available);
            errors.add(&child(pointer, "quantity"), ErrorCode::OutOfStock, detail);
        }
        if *currency.get_or_insert(&product.currency) != product.currency {
            let detail = "Cannot be ordered together with products in another currency.";
            errors.add(&at_sku, ErrorCode::MixedCurrencies, detail);
        }
        let quantity = quantity.unwrap_or(0);
        lines.push(Line { sku: product.sku.clone(), name: product.name.clone(), quantity, price: product.price });
    }
    let Ok(total) = domain::total(lines.iter().map(|line| (line.price, line.quantity))) else {
        errors.add("#/items", ErrorCode::TotalTooLarge, TOO_LARGE);
        return None;
    };
    let currency = currency?;
    // The total of an order with errors is not the one that would be charged.
    if errors.is_empty()
        && let Err(why) = catalogue.can_charge(total, currency)
    {
        not_chargeable(why, currency, errors);
    }
    Some((lines, total, currency.to_owned()))
}

const TOO_LARGE: &str = "Costs more than can be charged in one payment.";

fn not_chargeable(why: NotChargeable, currency: &str, errors: &mut Errors) {
    let shown = |amount| domain::format_money(amount, currency).unwrap_or_else(|| currency.to_owned());
    let (code, detail) = match why {
        NotChargeable::TooLarge => (ErrorCode::TotalTooLarge, TOO_LARGE.to_owned()),
        NotChargeable::TooSmall { least } => {
            (ErrorCode::TotalTooSmall, format!("Costs less than can be charged: the minimum is {}.", shown(least)))
        }
        NotChargeable::Fraction { step } => {
            let detail = format!("Cannot be charged: the total must be a multiple of {}.", shown(step));
            (ErrorCode::TotalNotChargeable, detail)
        }
        NotChargeable::Currency => (
            ErrorCode::TotalNotChargeable,
            "Cannot be charged: the shop does not accept payments in this currency.".to_owned(),
        ),
    };
    errors.add("#/items", code, detail);
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
