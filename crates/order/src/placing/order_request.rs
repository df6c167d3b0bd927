//! An order as a customer asks for it: parsed, with nothing of it left unchecked.

use uuid::Uuid;

/// What a customer asks for. It has no `Debug`: it holds personal data, which has no place in a log.
pub struct OrderRequest {
    /// Who orders.
    pub customer: Customer,
    /// Where it goes.
    pub shipping_address: Address,
    /// How it is paid.
    pub payment: Payment,
    /// The order whose payment was declined and that this one is in the place of.
    pub replaces: Option<Uuid>,
    /// What its customer was shown that it costs, in minor units.
    pub expected_total: Option<i64>,
}

/// Who orders.
pub struct Customer {
    /// 1 to 200 characters.
    pub name: String,
    /// An e-mail address, at most 254 characters.
    pub email: String,
}

/// Where an order goes.
pub struct Address {
    /// 1 to 200 characters.
    pub line1: String,
    /// 1 to 200 characters, where there is one.
    pub line2: Option<String>,
    /// 1 to 100 characters.
    pub city: String,
    /// 1 to 20 characters, where the country has them.
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// State, province or region: 1 to 100 characters, where it was given.
    pub state: Option<String>,
    /// For the carrier: 1 to 40 characters, where it was given.
    pub phone: Option<String>,
}

/// How an order is paid.
pub struct Payment {
    /// The payment provider's name for it: `pm_card_visa`.
    pub method: String,
}
