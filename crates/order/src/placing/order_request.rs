//! An order as the customer requested it, parsed and fully validated.

use uuid::Uuid;

/// A requested order. It has no `Debug`, since it holds personal data, which must not reach a log.
pub struct OrderRequest {
    /// The customer.
    pub customer: Customer,
    /// The address to ship to.
    pub shipping_address: Address,
    /// The payment.
    pub payment: Payment,
    /// The order with a declined payment that this one replaces.
    pub replaces: Option<Uuid>,
    /// The total that the customer was shown, in minor units.
    pub expected_total: Option<i64>,
}

/// The customer of an order.
pub struct Customer {
    /// 1 to 200 characters.
    pub name: String,
    /// An e-mail address, at most 254 characters.
    pub email: String,
}

/// A shipping address.
pub struct Address {
    /// 1 to 200 characters.
    pub line1: String,
    /// 1 to 200 characters, if given.
    pub line2: Option<String>,
    /// 1 to 100 characters.
    pub city: String,
    /// 1 to 20 characters, if the country has postal codes.
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// State, province or region: 1 to 100 characters, if given.
    pub state: Option<String>,
    /// For the carrier: 1 to 40 characters, if given.
    pub phone: Option<String>,
}

/// The payment of an order.
pub struct Payment {
    /// The payment provider's name of the payment method: `pm_card_visa`.
    pub method: String,
}
