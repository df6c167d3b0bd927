//! Money is an integer of minor units (cents) and an ISO 4217 code; a shop has one currency.

/// A sum that does not fit into 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the total does not fit into 64 bits")]
pub struct Overflow;

/// Σ price × quantity, in minor units.
///
/// # Errors
/// [`Overflow`], never a wrapped sum.
pub fn total(lines: impl IntoIterator<Item = (i64, i32)>) -> Result<i64, Overflow> {
    lines
        .into_iter()
        .try_fold(0_i64, |sum, (price, quantity)| sum.checked_add(price.checked_mul(i64::from(quantity))?))
        .ok_or(Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_the_sum_of_price_times_quantity() {
        assert_eq!(total([(1999, 2), (500, 1)]), Ok(4498));
        assert_eq!(total([]), Ok(0));
    }

    #[test]
    fn a_total_that_does_not_fit_is_refused() {
        assert_eq!(total([(i64::MAX, 2)]), Err(Overflow));
        assert_eq!(total([(i64::MAX, 1), (1, 1)]), Err(Overflow));
    }
}
