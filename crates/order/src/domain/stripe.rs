//! The amounts that Stripe can charge, and its units of money. We use the minor units of ISO 4217; Stripe's units
//! differ for some currencies.
//!
//! Every number here is from <https://docs.stripe.com/currencies>: "Zero-decimal currencies", "Three-decimal
//! currencies", "Special cases", "Minimum and maximum charge amounts".

use crate::payment_kind::PaymentKind;

use super::money;

/// Currencies without decimals at Stripe. In ISO 4217 the Malagasy ariary (MGA) has two.
const ZERO_DECIMAL: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];

/// Currencies with three decimals at Stripe. The last one must be 0.
const THREE_DECIMAL: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND"];

/// Currencies without decimals in ISO 4217 for which Stripe expects two, always 00: 500 is 5 ISK.
const ZERO_AS_TWO_DECIMAL: &[&str] = &["ISK", "UGX"];

/// The minimum charge by currency, in Stripe's units, for a bank account in that currency. For an account in another
/// currency, Stripe converts the account's minimum and reports a smaller amount as `amount_too_small`.
const LEAST: &[(&str, i64)] = &[
    ("AED", 200),
    ("AUD", 50),
    ("BGN", 100),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("CZK", 1_500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("INR", 50),
    ("JPY", 50),
    ("MXN", 1_000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PLN", 200),
    ("RON", 200),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1_000),
    ("USD", 50),
];

/// The maximum charge to a card, in Stripe's units, where it is more than [`MOST`]. For the last four the page's digit
/// counts and examples disagree. These are the larger values, so that nothing is refused that Stripe may accept.
const MOST_OF: &[(&str, i64)] = &[
    ("IDR", 999_999_999_999),
    ("INR", 999_999_999),
    ("LBP", 99_999_999_999_999),
    ("COP", 9_999_999_999_999),
    ("HUF", 9_999_999_999_999),
    ("JPY", 9_999_999_999_999),
];

/// The maximum charge in every other currency: eight digits.
const MOST: i64 = 99_999_999;

/// Why Stripe cannot charge an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotChargeable {
    /// It is below the minimum.
    #[error("the amount is below Stripe's minimum")]
    TooSmall {
        /// The minimum, in our minor units.
        least: i64,
    },
    /// It is above the maximum, or does not fit into 64 bits in Stripe's units.
    #[error("the amount is above Stripe's maximum")]
    TooLarge,
    /// Stripe charges this currency only in larger steps.
    #[error("Stripe cannot charge such a fraction of the currency")]
    Fraction {
        /// The amount must be a multiple of this, in our minor units.
        step: i64,
    },
    /// Stripe's units for this currency are unknown.
    #[error("Stripe does not support this currency")]
    Currency,
}

/// Checks whether this provider can charge an order of this total. A total of 0 is always valid, since nothing is
/// charged.
///
/// # Errors
/// Returns why it cannot be charged.
pub fn can_be_paid(provider: PaymentKind, total: i64, currency: &str) -> Result<(), NotChargeable> {
    match provider {
        PaymentKind::Stripe if total != 0 => check(total, currency),
        PaymentKind::Simulated | PaymentKind::Stripe => Ok(()),
    }
}

/// Checks whether Stripe can charge this amount, given in our minor units.
///
/// # Errors
/// Returns why it cannot be charged.
pub fn check(amount: i64, currency: &str) -> Result<(), NotChargeable> {
    let units = to_units(amount, currency)?;
    let least = of(LEAST, currency).unwrap_or(1);
    if units < least {
        return Err(NotChargeable::TooSmall { least: from_units(least, currency).unwrap_or(1) });
    }
    if units > of(MOST_OF, currency).unwrap_or(MOST) { Err(NotChargeable::TooLarge) } else { Ok(()) }
}

/// Converts an amount to Stripe's units: 4998 ISK are 499800.
///
/// # Errors
/// Fails if the amount has no form in Stripe's units. It does not check minimum and maximum: see [`check`].
pub fn to_units(amount: i64, currency: &str) -> Result<i64, NotChargeable> {
    let scale = Scale::of(currency).ok_or(NotChargeable::Currency)?;
    let step = scale.step();
    if amount.checked_rem(step) != Some(0) {
        return Err(NotChargeable::Fraction { step });
    }
    amount.checked_mul(scale.up).map(|units| units / scale.down).ok_or(NotChargeable::TooLarge)
}

/// Converts an amount from Stripe's units to our minor units: 499800 are 4998 ISK. Returns `None` for an amount without
/// a form in our units, which we can never have charged.
#[must_use]
pub fn from_units(units: i64, currency: &str) -> Option<i64> {
    let scale = Scale::of(&currency.to_ascii_uppercase())?;
    let amount = units.checked_mul(scale.down)?;
    (amount.checked_rem(scale.up)? == 0).then(|| amount / scale.up)
}

/// How to convert our minor units to Stripe's units.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// The factor by which our units are multiplied. Either this or `down` is 1.
    up: i64,
    /// The divisor of the product.
    down: i64,
    /// An amount in Stripe's units must be a multiple of this.
    multiple: i64,
}

impl Scale {
    fn of(currency: &str) -> Option<Self> {
        let listed = |list: &[&str]| list.contains(&currency);
        let decimals = money::decimals(currency)?;
        let (up, down, multiple) = match decimals {
            0 if listed(ZERO_AS_TWO_DECIMAL) => (100, 1, 100),
            0 if listed(ZERO_DECIMAL) => (1, 1, 1),
            2 if listed(ZERO_DECIMAL) => (1, 100, 1),
            2 => (1, 1, 1),
            3 if listed(THREE_DECIMAL) => (1, 1, 10),
            // A wrong guess would be off by a factor of ten or a hundred.
            _ => return None,
        };
        Some(Self { up, down, multiple })
    }

    /// Returns what an amount in our minor units must be a multiple of.
    fn step(self) -> i64 {
        (self.multiple * self.down / self.up).max(1)
    }
}

fn of(list: &[(&str, i64)], currency: &str) -> Option<i64> {
    list.iter().find(|(code, _)| *code == currency).map(|(_, units)| *units)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair is from the page or follows from it: "to charge 5 ISK, provide an amount value of 500".
    #[test]
    fn amounts_convert_to_stripes_units_and_back() {
        for (amount, currency, units) in [
            (1499, "EUR", 1499),
            (4998, "ISK", 499_800),
            (5, "UGX", 500),
            (500, "JPY", 500),
            (500, "KRW", 500),
            // Two decimals by ISO 4217, none at Stripe.
            (50_000, "MGA", 500),
            (5_120, "KWD", 5_120),
            // Zero-decimal for payouts only.
            (17_550, "HUF", 17_550),
            (80_045, "TWD", 80_045),
            (0, "EUR", 0),
        ] {
            assert_eq!(to_units(amount, currency), Ok(units), "{amount} {currency}");
            assert_eq!(from_units(units, currency), Some(amount), "{units} {currency}");
            assert_eq!(from_units(units, &currency.to_lowercase()), Some(amount), "Stripe uses lower case");
        }
    }

    #[test]
    fn every_listed_currency_converts_back_unchanged() {
        for currency in [ZERO_DECIMAL, THREE_DECIMAL, ZERO_AS_TWO_DECIMAL].concat() {
            let units = to_units(7_000, currency).unwrap_or_else(|why| panic!("{currency}: {why}"));
            assert_eq!(from_units(units, currency), Some(7_000), "{currency}");
        }
    }

    /// "5.124 KWD must be rounded to 5120 or 5130". We charge only the amount that was shown, so the order is refused.
    #[test]
    fn fraction_that_stripe_cannot_charge_is_refused() {
        assert_eq!(check(5_124, "KWD"), Err(NotChargeable::Fraction { step: 10 }));
        assert_eq!(check(5_120, "KWD"), Ok(()));
        assert_eq!(check(4_998, "MGA"), Err(NotChargeable::Fraction { step: 100 }));
        assert_eq!(from_units(499_850, "ISK"), None, "half a króna was never charged");
    }

    #[test]
    fn minimum_and_maximum_apply_in_our_units() {
        assert_eq!(check(49, "EUR"), Err(NotChargeable::TooSmall { least: 50 }));
        assert_eq!(check(50, "EUR"), Ok(()));
        assert_eq!(check(17_499, "HUF"), Err(NotChargeable::TooSmall { least: 17_500 }));
        assert_eq!(check(49, "JPY"), Err(NotChargeable::TooSmall { least: 50 }));
        // The page has no minimum for these.
        assert_eq!((check(1, "ISK"), check(1, "ZAR")), (Ok(()), Ok(())));
        assert_eq!((check(99_999_999, "EUR"), check(100_000_000, "EUR")), (Ok(()), Err(NotChargeable::TooLarge)));
        assert_eq!((check(999_999, "ISK"), check(1_000_000, "ISK")), (Ok(()), Err(NotChargeable::TooLarge)));
        assert_eq!(check(999_999_999_999, "IDR"), Ok(()));
        assert_eq!(check(i64::MAX, "ISK"), Err(NotChargeable::TooLarge), "no wrapped amount");
    }

    #[test]
    fn currency_of_unknown_units_is_refused() {
        // Currencies with three or four decimals that the page does not mention, and texts that are not currencies.
        for currency in ["IQD", "LYD", "CLF", "XXX", "ZZZ", "eur", ""] {
            assert_eq!(check(1_000, currency), Err(NotChargeable::Currency), "{currency}");
        }
    }
}
