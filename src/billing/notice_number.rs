//! The notice number and the IUV (SACI 3.2.1), and what stands in the QR code.
//!
//! Eighteen digits: the auxiliary digit `3`, the segregation code (2), a base of our own (13), and two check digits, which are the number
//! before them modulo 93. The IUV is the number without its first digit. Every payment of the creditor has its own for good, so the
//! base is made of a series (where several programs share the segregation code), the year and the notice's number in it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Cents;

/// Which of a creditor's stations a notice belongs to; the platform gives it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegregationCode(u8);

/// A notice number, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoticeNumber(u64);

/// What is wrong with a notice number or its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not two digits.
    #[error("il codice di segregazione ha due cifre")]
    Segregation,
    /// Not eighteen digits.
    #[error("il numero avviso ha 18 cifre")]
    Length,
    /// Another auxiliary digit than 3.
    #[error("il numero avviso deve cominciare con 3")]
    AuxDigit,
    /// A slip: the check digits do not match.
    #[error("il numero avviso è errato: le cifre di controllo non corrispondono")]
    Check,
    /// No base is left: the series or the number is too large.
    #[error("il progressivo dell'avviso è fuori misura")]
    Base,
    /// An amount that cannot be asked for.
    #[error("l'importo di un avviso va da 0,01 € a 99.999.999,99 €")]
    Amount,
}

/// One more than the largest base.
const BASES: u64 = 10_000_000_000_000;
/// One more than the largest number of a year's notice.
const NUMBERS: u64 = 1_000_000_000;
/// The largest amount that the QR code's ten digits hold.
const MOST_CENTS: i64 = 9_999_999_999;

impl FromStr for SegregationCode {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| two).map(Self).ok_or(NumberError::Segregation)
    }
}

impl TryFrom<String> for SegregationCode {
    type Error = NumberError;

    fn try_from(text: String) -> Result<Self, NumberError> {
        text.parse()
    }
}

impl From<SegregationCode> for String {
    fn from(code: SegregationCode) -> Self {
        code.to_string()
    }
}

impl fmt::Display for SegregationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl NoticeNumber {
    /// The number of the `number`th notice of `year` in our `series` (0 to 99).
    ///
    /// # Errors
    /// [`NumberError::Base`] where they do not fit thirteen digits.
    pub fn of(segregation: SegregationCode, series: u8, year: i32, number: i64) -> Result<Self, NumberError> {
        let number = u64::try_from(number).ok().filter(|n| (1..NUMBERS).contains(n)).ok_or(NumberError::Base)?;
        let year = u64::from(year.rem_euclid(100).unsigned_abs());
        if series > 99 {
            return Err(NumberError::Base);
        }
        Self::with_base(segregation, (u64::from(series) * 100 + year) * NUMBERS + number)
    }

    /// The number with that base.
    ///
    /// # Errors
    /// [`NumberError::Base`] where it has more than thirteen digits.
    pub fn with_base(segregation: SegregationCode, base: u64) -> Result<Self, NumberError> {
        if base >= BASES {
            return Err(NumberError::Base);
        }
        let unchecked = (300 + u64::from(segregation.0)) * BASES + base;
        Ok(Self(unchecked * 100 + unchecked % 93))
    }

    /// The IUV: seventeen digits.
    pub fn iuv(self) -> String {
        self.to_string().split_off(1)
    }

    /// In groups of four, as it is printed and read aloud.
    pub fn grouped(self) -> String {
        let digits = self.to_string();
        let groups = digits.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group));
        groups.collect::<Vec<_>>().join(" ")
    }

    /// What stands in the QR code. `creditor` is the creditor's fiscal code.
    ///
    /// # Errors
    /// [`NumberError::Amount`] for nothing, a credit, or more than the format holds.
    pub fn qr_text(self, creditor: &str, amount: Cents) -> Result<String, NumberError> {
        if !(1..=MOST_CENTS).contains(&amount.0) {
            return Err(NumberError::Amount);
        }
        Ok(format!("PAGOPA|002|{self}|{creditor}|{:02}", amount.0))
    }
}

impl FromStr for NoticeNumber {
    type Err = NumberError;

    /// Reads a number; spaces between its digits are forgiven.
    fn from_str(text: &str) -> Result<Self, NumberError> {
        // A hundred characters are more than anybody spaces eighteen digits with.
        let digits: String = text.chars().take(100).filter(|c| !c.is_whitespace()).collect();
        if digits.len() != 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NumberError::Length);
        }
        let number: u64 = digits.parse().map_err(|_| NumberError::Length)?;
        if !digits.starts_with('3') {
            return Err(NumberError::AuxDigit);
        }
        if number % 100 != number / 100 % 93 {
            return Err(NumberError::Check);
        }
        Ok(Self(number))
    }
}

impl fmt::Display for NoticeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:018}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segregation(n: u8) -> SegregationCode {
        format!("{n:02}").parse().unwrap()
    }

    /// The remainder as one learns it at school, digit by digit.
    fn modulo_93(digits: &str) -> u32 {
        digits.chars().fold(0, |rest, digit| (rest * 10 + digit.to_digit(10).unwrap()) % 93)
    }

    #[test]
    fn the_first_notice_of_a_year() {
        let number = NoticeNumber::of(segregation(2), 1, 2026, 1).unwrap();
        // 3020126000000001 = 93 × 32474473118279 + 54.
        assert_eq!(number.to_string(), "302012600000000154");
        assert_eq!((number.iuv().as_str(), number.grouped().as_str()), ("02012600000000154", "3020 1260 0000 0001 54"));
        assert_eq!(number.qr_text("00123450017", Cents(4_680)).unwrap(), "PAGOPA|002|302012600000000154|00123450017|4680");
        assert_eq!("3020 1260 0000 0001 54".parse(), Ok(number));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", NumberError::Length),
            ("30201260000000015", NumberError::Length),
            ("30201260000000015é", NumberError::Length),
            ("102012600000000154", NumberError::AuxDigit),
            ("302012600000000155", NumberError::Check),
            // The published samples of the payment interfaces are not meant to be paid: their check digits are wrong.
            ("302012387654312384", NumberError::Check),
        ] {
            assert_eq!(text.parse::<NoticeNumber>(), Err(error), "{text}");
        }
        for wrong in ["", "2", "022", "x2", "+2", "２２"] {
            assert_eq!(wrong.parse::<SegregationCode>(), Err(NumberError::Segregation), "{wrong}");
        }
        assert_eq!(NoticeNumber::of(segregation(2), 0, 2026, 0), Err(NumberError::Base));
        assert_eq!(NoticeNumber::of(segregation(2), 0, 2026, 1_000_000_000), Err(NumberError::Base));
        assert_eq!(NoticeNumber::of(segregation(2), 100, 2026, 1), Err(NumberError::Base));
        let number = NoticeNumber::of(segregation(2), 0, 2026, 1).unwrap();
        for amount in [0, -1, MOST_CENTS + 1] {
            assert_eq!(number.qr_text("00123450017", Cents(amount)), Err(NumberError::Amount));
        }
        assert!(number.qr_text("00123450017", Cents(5)).unwrap().ends_with("|05"));
    }

    proptest! {
        #[test]
        fn a_number_is_read_back_and_one_wrong_digit_is_seen(
            station in 0u8..100, series in 0u8..100, year in 2000i32..2100, number in 1i64..1_000_000_000, place in 1usize..18, other in 0u8..10,
        ) {
            let made = NoticeNumber::of(segregation(station), series, year, number).unwrap();
            let text = made.to_string();
            prop_assert_eq!(text.len(), 18);
            prop_assert_eq!(modulo_93(&text[..16]), text[16..].parse::<u32>().unwrap());
            prop_assert_eq!(text.parse(), Ok(made));
            prop_assert_eq!(made.grouped().parse(), Ok(made));
            let wrong = format!("{}{other}{}", &text[..place], &text[place + 1..]);
            prop_assert_eq!(wrong.parse::<NoticeNumber>().is_ok(), wrong == text, "{}", wrong);
        }

        #[test]
        fn different_notices_have_different_numbers(series in 0u8..100, year in 2000i32..2100, one in 1i64..1_000_000_000, other in 1i64..1_000_000_000) {
            let of = |number| NoticeNumber::of(segregation(3), series, year, number).unwrap();
            prop_assert_eq!(of(one) == of(other), one == other);
        }

        #[test]
        fn whatever_is_read_is_answered(text in "\\PC{0,30}") {
            let _ = text.parse::<NoticeNumber>();
            let _ = text.parse::<SegregationCode>();
        }
    }
}
