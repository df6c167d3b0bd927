//! Splits a failing batch into ever smaller parts, so that only the bad items fail.

/// A batch that can be split.
pub trait Batch: Sized {
    /// Returns whether the batch is empty.
    fn is_empty(&self) -> bool;

    /// Splits the batch into two parts. Neither is empty if the batch has at least two items.
    fn halves(self) -> (Self, Self);
}

impl<T> Batch for Vec<T> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn halves(mut self) -> (Self, Self) {
        let second = self.split_off(self.len() / 2);
        (self, second)
    }
}

/// The parts of a batch that are not tried yet, in order. A loop takes one after another and puts back those that
/// failed.
#[derive(Debug)]
pub struct Parts<B>(Vec<B>);

impl<B: Batch> Parts<B> {
    /// Starts with the whole batch as one part.
    #[must_use]
    pub fn of(batch: B) -> Self {
        Self(vec![batch])
    }

    /// Returns the next part to try, which is never empty.
    pub fn take(&mut self) -> Option<B> {
        std::iter::from_fn(|| self.0.pop()).find(|part| !part.is_empty())
    }

    /// Puts back a part, or the rest of it, to be tried next.
    pub fn again(&mut self, part: B) {
        self.0.push(part);
    }

    /// Returns the parts that were not tried.
    #[must_use]
    pub fn rest(self) -> Vec<B> {
        self.0
    }

    /// Puts back a part, to be tried in halves. The loop must not split a single item; it has to give up on that.
    pub fn split(&mut self, part: B) {
        let (first, second) = part.halves();
        self.0.extend([second, first]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bad_items_fail_and_the_rest_is_done_in_order() {
        let (mut done, mut failed, mut attempts) = (Vec::new(), Vec::new(), 0);
        let mut parts = Parts::of((0..100).collect::<Vec<_>>());
        while let Some(part) = parts.take() {
            attempts += 1;
            match part.as_slice() {
                [bad @ (17 | 18)] => failed.push(*bad),
                some if some.contains(&17) || some.contains(&18) => parts.split(part),
                good => done.extend_from_slice(good),
            }
        }
        assert_eq!(failed, [17, 18]);
        assert_eq!(done, (0..100).filter(|one| ![17, 18].contains(one)).collect::<Vec<_>>());
        assert!(attempts < 20, "{attempts} attempts; expected far fewer than one per item");
    }

    #[test]
    fn part_that_is_put_back_comes_next_and_empty_parts_are_skipped() {
        let mut parts = Parts::of(vec![1, 2, 3, 4]);
        let whole = parts.take().expect("the batch");
        parts.split(whole);
        assert_eq!(parts.take(), Some(vec![1, 2]));
        parts.again(vec![2]);
        assert_eq!(parts.take(), Some(vec![2]));
        parts.again(Vec::new());
        assert_eq!((parts.take(), parts.take()), (Some(vec![3, 4]), None));
        assert_eq!(Parts::of(Vec::<u8>::new()).take(), None);
    }

    #[test]
    fn rest_contains_the_parts_that_were_not_taken() {
        let mut parts = Parts::of(vec![1, 2, 3, 4]);
        let whole = parts.take().expect("the batch");
        parts.split(whole);
        assert_eq!(parts.take(), Some(vec![1, 2]));
        assert_eq!(parts.rest(), [vec![3, 4]]);
    }
}
