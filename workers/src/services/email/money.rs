//! Money as people read it.

use iso_currency::Currency;

use super::templates::Unwritable;

/// `49.98 EUR`, with as many decimals as the currency has: none for yen. The code and not a symbol, since a dollar
/// sign says nothing of whose dollar it is.
///
/// # Errors
/// For a currency of unknown decimals: a mail with a wrong amount is worse than none.
pub fn format(minor_units: i64, currency: &str) -> Result<String, Unwritable> {
    let decimals = Currency::from_code(currency).and_then(Currency::exponent);
    let decimals = decimals.ok_or_else(|| Unwritable::Currency(currency.to_owned()))?;
    let sign = if minor_units < 0 { "-" } else { "" };
    let amount = minor_units.unsigned_abs();
    if decimals == 0 {
        return Ok(format!("{sign}{amount} {currency}"));
    }
    let unit = 10_u64.checked_pow(decimals.into()).ok_or_else(|| Unwritable::Currency(currency.to_owned()))?;
    Ok(format!("{sign}{}.{:0width$} {currency}", amount / unit, amount % unit, width = usize::from(decimals)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (minor_units, currency, expected) in [
            (4998, "EUR", "49.98 EUR"),
            (5, "EUR", "0.05 EUR"),
            (0, "USD", "0.00 USD"),
            (-150, "GBP", "-1.50 GBP"),
            (4998, "JPY", "4998 JPY"),
            (4998, "KWD", "4.998 KWD"),
            (i64::MIN, "EUR", "-92233720368547758.08 EUR"),
        ] {
            assert_eq!(format(minor_units, currency).expect("a currency"), expected);
        }
    }

    #[test]
    fn a_currency_of_unknown_decimals_is_refused() {
        assert!(matches!(format(1, "ZZZ"), Err(Unwritable::Currency(_))));
        assert!(matches!(format(1, "XXX"), Err(Unwritable::Currency(_))));
    }
}
