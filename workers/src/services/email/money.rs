//! Money as people read it.

use orderflow_order::domain::format_money;

use super::templates::Unwritable;

/// `49.98 EUR`.
///
/// # Errors
/// For a currency of unknown decimals: a mail with a wrong amount is worse than none.
pub fn format(minor_units: i64, currency: &str) -> Result<String, Unwritable> {
    format_money(minor_units, currency).ok_or_else(|| Unwritable::Currency(currency.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_of_unknown_decimals_is_refused() {
        assert_eq!(format(4998, "EUR").expect("a currency"), "49.98 EUR");
        assert!(matches!(format(1, "ZZZ"), Err(Unwritable::Currency(_))));
    }
}
