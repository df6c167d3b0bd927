//! What to do with a batch of which some part cannot be done: ever smaller parts are tried, so that only the bad part
//! fails.

/// A batch that can be tried in parts.
pub trait Batch: Sized {
    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool;

    /// Cuts it into two parts, neither of them empty where it holds two things or more.
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

/// The parts of a batch that are still to be tried, in order. A loop takes one after the other and gives back what
/// failed.
#[derive(Debug)]
pub struct Parts<B>(Vec<B>);

impl<B: Batch> Parts<B> {
    /// Begins with the whole batch as one part.
    #[must_use]
    pub fn of(batch: B) -> Self {
        Self(vec![batch])
    }

    /// Returns the next part to try, which is never empty.
    pub fn take(&mut self) -> Option<B> {
        std::iter::from_fn(|| self.0.pop()).find(|part| !part.is_empty())
    }

    /// Gives back a part, or what is left of it, to be tried next.
    pub fn again(&mut self, part: B) {
        self.0.push(part);
    }

    /// Returns the parts that are not tried any more.
    #[must_use]
    pub fn rest(self) -> Vec<B> {
        self.0
    }

    /// Gives back a part to be tried by halves. Of one thing that fails alone, the loop has to give up instead.
    pub fn split(&mut self, part: B) {
        let (first, second) = part.halves();
        self.0.extend([second, first]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bad_things_fail_and_the_rest_is_done_in_order() {
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
        assert!(attempts < 20, "{attempts} attempts: not one for each");
    }

    #[test]
    fn part_that_is_given_back_comes_next_and_an_empty_one_never() {
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
    fn rest_is_what_was_not_taken() {
        let mut parts = Parts::of(vec![1, 2, 3, 4]);
        let whole = parts.take().expect("the batch");
        parts.split(whole);
        assert_eq!(parts.take(), Some(vec![1, 2]));
        assert_eq!(parts.rest(), [vec![3, 4]]);
    }
}
