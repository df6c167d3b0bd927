//! Money is an integer number of minor units (cents) and an ISO 4217 code. A shop has one currency.

use iso_currency::Currency;

/// A sum that does not fit into 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the total does not fit into 64 bits")]
pub struct Overflow;

/// Returns Σ price × quantity, in minor units.
///
/// # Errors
/// Returns [`Overflow`] instead of a wrapped sum.
pub fn total(lines: impl IntoIterator<Item = (i64, i32)>) -> Result<i64, Overflow> {
    lines
        .into_iter()
        .try_fold(0_i64, |sum, (price, quantity)| sum.checked_add(price.checked_mul(i64::from(quantity))?))
        .ok_or(Overflow)
}

/// Returns how many decimals a currency has; `None` if that is unknown.
#[must_use]
pub fn decimals(currency: &str) -> Option<u16> {
    Currency::from_code(currency).and_then(Currency::exponent)
}

/// Formats an amount with as many decimals as the currency has: `49.98 EUR`, no decimals for yen.
///
/// It shows the code, not a symbol, since several currencies use a dollar sign. Returns `None` if the currency's
/// decimals are unknown: a wrong amount is worse than none.
#[must_use]
pub fn format(minor_units: i64, currency: &str) -> Option<String> {
    let decimals = decimals(currency)?;
    let sign = if minor_units < 0 { "-" } else { "" };
    let amount = minor_units.unsigned_abs();
    if decimals == 0 {
        return Some(format!("{sign}{amount} {currency}"));
    }
    let unit = 10_u64.checked_pow(decimals.into())?;
    Some(format!("{sign}{}.{:0width$} {currency}", amount / unit, amount % unit, width = usize::from(decimals)))
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
            assert_eq!(format(minor_units, currency).as_deref(), Some(expected));
        }
        assert_eq!((format(1, "ZZZ"), format(1, "XXX")), (None, None), "their decimals are unknown");
    }

    #[test]
    fn total_is_the_sum_of_price_times_quantity() {
        assert_eq!(total([(1999, 2), (500, 1)]), Ok(4498));
        assert_eq!(total([]), Ok(0));
    }

    #[test]
    fn total_that_overflows_is_refused() {
        assert_eq!(total([(i64::MAX, 2)]), Err(Overflow));
        assert_eq!(total([(i64::MAX, 1), (1, 1)]), Err(Overflow));
    }
}
