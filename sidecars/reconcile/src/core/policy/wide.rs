//! Natural numbers without a bound: the weight of a result is the product of its workers' weights.

use std::cmp::Ordering;

/// A natural number, in limbs of 64 bits, lowest first, without zeros at the end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wide(Vec<u64>);

impl Wide {
    pub(crate) fn one() -> Self {
        Self(vec![1])
    }

    pub(crate) fn times(&self, factor: u128) -> Self {
        let low = self.times_limb(factor as u64);
        let high = self.times_limb((factor >> 64) as u64);
        if high.0.is_empty() {
            return low;
        }
        let mut shifted = vec![0];
        shifted.extend(high.0);
        low.plus(&Self(shifted))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let limb = |number: &Self, index: usize| number.0.get(index).copied().unwrap_or(0);
        let mut carry = 0;
        let limbs = (0..=self.0.len().max(other.0.len())).map(|index| {
            let sum = u128::from(limb(self, index)) + u128::from(limb(other, index)) + carry;
            carry = sum >> 64;
            sum as u64
        });
        Self::trimmed(limbs.collect())
    }

    fn times_limb(&self, factor: u64) -> Self {
        let mut carry = 0;
        let mut limbs: Vec<u64> = self
            .0
            .iter()
            .map(|limb| {
                let product = u128::from(*limb) * u128::from(factor) + carry;
                carry = product >> 64;
                product as u64
            })
            .collect();
        limbs.push(u64::try_from(carry).expect("a carry is less than a limb"));
        Self::trimmed(limbs)
    }

    fn trimmed(mut limbs: Vec<u64>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self(limbs)
    }
}

impl Ord for Wide {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wide(value: u128) -> Wide {
        Wide::one().times(value)
    }

    proptest! {
        #[test]
        fn small_numbers_are_those_of_the_machine(a in 0..1_u128 << 63, b in 0..1_u128 << 63, c: u64) {
            prop_assert_eq!(wide(a).times(b), wide(a * b));
            prop_assert_eq!(wide(a).plus(&wide(b)), wide(a + b));
            prop_assert_eq!(wide(a).cmp(&wide(b)), a.cmp(&b));
            prop_assert_eq!(wide(a).times(u128::from(c)).cmp(&wide(b)), (a * u128::from(c)).cmp(&b));
        }

        #[test]
        fn products_do_not_depend_on_the_order_of_factors(a: u128, b: u128, c: u128) {
            prop_assert_eq!(wide(a).times(b).times(c), wide(c).times(a).times(b));
            prop_assert_eq!(wide(a).plus(&wide(b)).times(2), wide(b).times(2).plus(&wide(a).times(2)));
        }
    }
}
