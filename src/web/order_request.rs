//! An order as a customer asks for it: parsed, with nothing of it left unchecked.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::store::idempotency::Fingerprint;

/// What a customer asks for. It has no `Debug`: it holds personal data, which has no place in a log.
///
/// Its serialisation is what tells one request from another under the same key: it has to stay as it is, or a
/// repetition across an update is taken for another request.
#[derive(Clone, Serialize)]
pub struct OrderRequest {
    /// Who orders.
    pub customer: Customer,
    /// Where it goes.
    pub shipping_address: Address,
    /// What, in the order of the request; no product twice.
    pub items: Vec<Item>,
    /// How it is paid.
    pub payment: Payment,
    /// The order whose payment was declined and that this one is in the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Uuid>,
}

/// Who orders.
#[derive(Clone, Serialize)]
pub struct Customer {
    /// 1 to 200 characters.
    pub name: String,
    /// An e-mail address, at most 254 characters.
    pub email: String,
}

/// Where an order goes.
#[derive(Clone, Serialize)]
pub struct Address {
    /// 1 to 200 characters.
    pub line1: String,
    /// 1 to 200 characters, where there is one.
    pub line2: Option<String>,
    /// 1 to 100 characters.
    pub city: String,
    /// 1 to 20 characters.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The product.
    pub sku: String,
    /// Pieces, 1 to 99.
    pub quantity: i32,
}

/// How an order is paid.
#[derive(Clone, Serialize)]
pub struct Payment {
    /// The payment provider's name for it: `pm_card_visa`.
    pub method: String,
}

impl OrderRequest {
    /// SHA-256 of the request as parsed: white space, the order of fields and an explicit null make no difference.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn fingerprint(&self) -> serde_json::Result<Fingerprint> {
        Ok(Sha256::digest(serde_json::to_vec(self)?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> OrderRequest {
        OrderRequest {
            customer: Customer { name: "Ada".to_owned(), email: "ada@example.com".to_owned() },
            shipping_address: Address {
                line1: "1 Main Street".to_owned(),
                line2: None,
                city: "Berlin".to_owned(),
                postal_code: "10115".to_owned(),
                country: "DE".to_owned(),
            },
            items: vec![Item { sku: "MUG".to_owned(), quantity: 2 }],
            payment: Payment { method: "pm_card_visa".to_owned() },
            replaces: None,
        }
    }

    #[test]
    fn a_fingerprint_stays_the_same_across_updates() {
        // Printed once. If this fails, requests repeated across the update are refused as reused keys.
        let expected = "bf1669e9535503e6db1084c59eb60496d406a3bf020d8b52bd3befccea372cf5";
        assert_eq!(hex::encode(request().fingerprint().expect("it has one")), expected);
    }

    #[test]
    fn every_field_is_part_of_the_fingerprint() {
        let changes: [fn(&mut OrderRequest); 11] = [
            |request| request.customer.name.push('x'),
            |request| request.customer.email.push('x'),
            |request| request.shipping_address.line1.push('x'),
            |request| request.shipping_address.line2 = Some("x".to_owned()),
            |request| request.shipping_address.city.push('x'),
            |request| request.shipping_address.postal_code.push('x'),
            |request| request.shipping_address.country.push('x'),
            |request| request.items.push(Item { sku: "TEA".to_owned(), quantity: 1 }),
            |request| request.items[0].quantity = 3,
            |request| request.payment.method.push('x'),
            |request| request.replaces = Some(Uuid::nil()),
        ];
        for change in changes {
            let mut changed = request();
            change(&mut changed);
            assert_ne!(changed.fingerprint().expect("it has one"), request().fingerprint().expect("it has one"));
        }
    }
}
