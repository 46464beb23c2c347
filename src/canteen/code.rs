//! Numbers that people type and read aloud: the child's keypad code and the receipt number.
//!
//! Both end in a Damm check digit, which catches every single wrong digit and every swap of
//! neighbours (H. M. Damm, "Total anti-symmetrische Quasigruppen", Marburg 2004).

use std::fmt;

use rand::{Rng, RngExt};

/// Damm's totally anti-symmetric quasigroup of order 10.
const DAMM: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

/// The check digit of ASCII `digits`; over digits and their check digit together it is 0.
/// Anything that is no digit counts as 0: callers have checked.
fn check_digit(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |row, digit| DAMM[usize::from(row)][usize::from(digit.wrapping_sub(b'0')) % 10])
}

/// Are these ASCII digits, the last of them the check digit of the rest?
pub fn has_valid_check_digit(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit()) && check_digit(text.as_bytes()) == 0
}

/// `len` random digits, the first not 0 (spreadsheets drop leading zeros), and their check digit.
fn random_number(rng: &mut impl Rng, len: usize) -> String {
    let mut number: String = (0..len).map(|i| char::from(b'0' + rng.random_range(u8::from(i == 0)..10))).collect();
    number.push(char::from(b'0' + check_digit(number.as_bytes())));
    number
}

/// A child's keypad code ("codice disdetta"): 7 digits, the last a check digit. A secret: it is
/// written out only by [`ChildCode::as_str`], never by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildCode(String);

/// Why typed digits are no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not exactly seven digits.
    #[error("a code has {} digits", ChildCode::DIGITS)]
    Length,
    /// The check digit does not fit: a slip of the finger, hardly a guess.
    #[error("the code's check digit is wrong")]
    CheckDigit,
}

impl ChildCode {
    /// Digits of a code, check digit included.
    pub const DIGITS: usize = 7;

    /// Reads a typed code.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() != Self::DIGITS || !text.bytes().all(|b| b.is_ascii_digit()) {
            Err(CodeError::Length)
        } else if has_valid_check_digit(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CodeError::CheckDigit)
        }
    }

    /// Draws a code. Those that someone idly trying would try first (at most two different
    /// digits, or six that count up or down) are passed over.
    pub fn random(rng: &mut impl Rng) -> Self {
        loop {
            let code = random_number(rng, Self::DIGITS - 1);
            if !is_obvious(code.as_bytes()) {
                return Self(code);
            }
        }
    }

    /// The digits. For the database, the letter and the exports; never for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_obvious(code: &[u8]) -> bool {
    let mut different: Vec<u8> = code.to_vec();
    different.sort_unstable();
    different.dedup();
    let body = &code[..code.len() - 1];
    let counts = |step: i16| body.windows(2).all(|w| i16::from(w[1]) - i16::from(w[0]) == step);
    different.len() <= 2 || counts(1) || counts(-1)
}

impl fmt::Debug for ChildCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildCode(•••••••)")
    }
}

/// Digits of the shortest receipt number, check digit included.
const RECEIPT_DIGITS: usize = 6;
/// How many numbers of one length are tried before a longer one is taken.
const DRAWS_PER_LENGTH: u32 = 4;

/// The `attempt`-th receipt number to try (0, 1, 2 …): as short as can be. An ente uses each number
/// once for ever; when the short ones get scarce the draws collide and the numbers grow by a digit.
pub fn draw_receipt(rng: &mut impl Rng, attempt: u32) -> String {
    let longer = (attempt / DRAWS_PER_LENGTH) as usize;
    random_number(rng, RECEIPT_DIGITS - 1 + longer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_published_example() {
        // The worked example of Damm's thesis: 572 has check digit 4.
        assert_eq!(check_digit(b"572"), 4);
        assert!(has_valid_check_digit("5724"));
        assert!(!has_valid_check_digit("5727") && !has_valid_check_digit("4") && !has_valid_check_digit("57x4"));
    }

    proptest! {
        #[test]
        fn any_wrong_digit_and_any_swap_is_caught(seed: u64, position in 0usize..7, by in 1u8..10) {
            let code = ChildCode::random(&mut StdRng::seed_from_u64(seed));
            let mut wrong = code.as_str().as_bytes().to_vec();
            wrong[position] = b'0' + (wrong[position] - b'0' + by) % 10;
            prop_assert_eq!(ChildCode::parse(std::str::from_utf8(&wrong).unwrap()), Err(CodeError::CheckDigit));
            let mut swapped = code.as_str().as_bytes().to_vec();
            let at = position.min(5);
            swapped.swap(at, at + 1);
            let same = swapped[at] == swapped[at + 1];
            prop_assert_eq!(ChildCode::parse(std::str::from_utf8(&swapped).unwrap()).is_ok(), same);
        }

        #[test]
        fn codes_and_receipts_check_and_keep_their_length(seed: u64, attempt in 0u32..12) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let code = ChildCode::random(rng);
            prop_assert_eq!(ChildCode::parse(code.as_str()), Ok(code.clone()));
            prop_assert!(!code.as_str().starts_with('0'));
            let receipt = draw_receipt(rng, attempt);
            prop_assert!(has_valid_check_digit(&receipt));
            prop_assert_eq!(receipt.len(), 6 + attempt as usize / 4);
        }
    }

    #[test]
    fn a_code_is_not_shown_by_debug() {
        let code = ChildCode::random(&mut StdRng::seed_from_u64(1));
        assert!(!format!("{code:?}").contains(code.as_str()));
    }

    #[test]
    fn obvious_codes_are_passed_over() {
        for obvious in ["1111111", "1234569", "9876540", "2322233"] {
            assert!(is_obvious(obvious.as_bytes()), "{obvious}");
        }
        assert!(!is_obvious(b"4729108"));
    }
}
