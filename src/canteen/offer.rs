//! Which options an ente offers on the telephone.

use super::Choice;

/// A set of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered(u8);

/// In the order of the bits under which they are kept, and of the usual menu.
const ORDER: [Choice; 5] = [Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo];

impl Default for Offered {
    fn default() -> Self {
        Self::ALL
    }
}

impl Offered {
    /// Every option.
    pub const ALL: Self = Self(0b1_1111);

    /// From the number kept in the database; bits that mean nothing are left out.
    pub fn from_bits(bits: i64) -> Self {
        Self(bits.to_le_bytes()[0] & Self::ALL.0)
    }

    /// The number under which it is kept: bit 0 cancel, 1 white, 2 suspend, 3 resume, 4 undo.
    pub fn bits(self) -> i64 {
        i64::from(self.0)
    }

    /// Is it offered?
    pub fn contains(self, choice: Choice) -> bool {
        ORDER.iter().position(|other| *other == choice).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// Is everything offered?
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Those that are offered.
    pub fn iter(self) -> impl Iterator<Item = Choice> {
        ORDER.into_iter().filter(move |choice| self.contains(*choice))
    }
}

impl FromIterator<Choice> for Offered {
    fn from_iter<I: IntoIterator<Item = Choice>>(choices: I) -> Self {
        let bit = |choice| ORDER.iter().position(|other| *other == choice).map_or(0, |bit| 1 << bit);
        Self(choices.into_iter().fold(0, |bits, choice| bits | bit(choice)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_survives_the_database() {
        for bits in 0..32 {
            let set = Offered::from_bits(bits);
            assert_eq!(set.bits(), bits);
            assert_eq!(set.iter().collect::<Offered>(), set);
        }
        assert_eq!(Offered::from_bits(-1), Offered::ALL);
    }
}
