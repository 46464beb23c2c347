//! Money: whole cents, checked arithmetic, one rounding.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in euro cents; negative is to the family's credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(pub i64);

/// An amount beyond all that a canteen can ask for: a fault, never rounded or wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("importo fuori da ogni misura")]
pub struct Overflow;

impl Cents {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn minus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(Overflow)
    }

    /// So many times the amount.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn times(self, quantity: u32) -> Result<Self, Overflow> {
        self.0.checked_mul(i64::from(quantity)).map(Self).ok_or(Overflow)
    }

    /// The sum of them all.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Overflow> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// What is left after each of the reductions, one after the other, rounded once: half a cent goes up. Only for amounts that are
    /// not negative.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn reduced_by(self, reductions: &[BasisPoints]) -> Result<Self, Overflow> {
        let whole = i128::from(BasisPoints::WHOLE.0);
        let (mut above, mut below) = (i128::from(self.0), 1i128);
        for reduction in reductions {
            above = above.checked_mul(whole - i128::from(reduction.0)).ok_or(Overflow)?;
            below = below.checked_mul(whole).ok_or(Overflow)?;
        }
        let half_up = above.checked_mul(2).and_then(|twice| twice.checked_add(below)).ok_or(Overflow)?;
        i64::try_from(half_up.div_euclid(below * 2)).map(Self).map_err(|_| Overflow)
    }
}

impl fmt::Display for Cents {
    /// As Italians write it: `1.234,56 €`, with a minus sign before what is to the family's credit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (euros, cents) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        let digits = euros.to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                grouped.push('.');
            }
            grouped.push(digit);
        }
        write!(f, "{}{grouped},{cents:02} €", if self.0 < 0 { "−" } else { "" })
    }
}

/// A share of a whole in hundredths of a percent, 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct BasisPoints(u16);

/// Not between 0 and 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("una percentuale va da 0 a 100: in centesimi di punto, da 0 a 10.000")]
pub struct NoShare;

impl BasisPoints {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);

    /// As a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for BasisPoints {
    type Error = NoShare;

    fn try_from(number: i64) -> Result<Self, NoShare> {
        u16::try_from(number).ok().filter(|n| *n <= Self::WHOLE.0).map(Self).ok_or(NoShare)
    }
}

impl From<BasisPoints> for i64 {
    fn from(share: BasisPoints) -> Self {
        share.0.into()
    }
}

impl fmt::Display for BasisPoints {
    /// `20 %`, `12,5 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{percent} %"),
            rest if rest % 10 == 0 => write!(f, "{percent},{} %", rest / 10),
            rest => write!(f, "{percent},{rest:02} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bp(n: i64) -> BasisPoints {
        n.try_into().unwrap()
    }

    #[test]
    fn amounts_as_italians_write_them() {
        let shown = [0, 5, 320, -180, 123_456, 100_000_000, i64::MIN].map(|n| Cents(n).to_string());
        assert_eq!(shown, ["0,00 €", "0,05 €", "3,20 €", "−1,80 €", "1.234,56 €", "1.000.000,00 €", "−92.233.720.368.547.758,08 €"]);
        assert_eq!([2_000, 1_250, 1_275, 5, 10_000, 0].map(|n| bp(n).to_string()), ["20 %", "12,5 %", "12,75 %", "0,05 %", "100 %", "0 %"]);
    }

    #[test]
    fn half_a_cent_goes_up_and_it_is_rounded_once() {
        assert_eq!(Cents(320).reduced_by(&[bp(2_000)]), Ok(Cents(256)));
        assert_eq!(Cents(5).reduced_by(&[bp(5_000)]), Ok(Cents(3)), "2.5 cents");
        // Rounded twice it would be 0.25 × 5 = 1.25, then half of 1: 0.5, so 1.
        assert_eq!(Cents(5).reduced_by(&[bp(7_500), bp(7_000)]), Ok(Cents(0)));
        assert_eq!(Cents(i64::MAX).plus(Cents(1)), Err(Overflow));
        assert_eq!(Cents(i64::MAX).times(2), Err(Overflow));
        assert_eq!(bp(10_000), BasisPoints::WHOLE);
        assert_eq!(BasisPoints::try_from(10_001), Err(NoShare));
    }

    proptest! {
        #[test]
        fn a_reduction_is_exact_to_half_a_cent(amount in 0i64..10_000_000, first in 0i64..=10_000, second in 0i64..=10_000) {
            let left = Cents(amount).reduced_by(&[bp(first), bp(second)]).unwrap();
            let exact = i128::from(amount) * i128::from(10_000 - first) * i128::from(10_000 - second);
            let error = i128::from(left.0) * 100_000_000 - exact;
            prop_assert!((-50_000_000 < error) && (error <= 50_000_000), "{error}");
            prop_assert!(left <= Cents(amount) && left >= Cents::ZERO);
        }
    }
}
