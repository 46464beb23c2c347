//! The Italian tax code ("codice fiscale"): form and control character.
//!
//! Source: ministerial decree 23 December 1976 n. 13813 and its changes. A person's code has sixteen characters: six
//! letters of surname and name, year, month and day of birth, the place's four characters, a control
//! letter. Where two persons would share it, digits are replaced from the right by letters
//! ("omocodia"). Persons newly arrived may have a provisional code of eleven digits.

use std::{fmt, str::FromStr};

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

/// A checked fiscal code, in capitals. Personal data: `Debug` masks it, there is no `Display`;
/// whoever must show or store it says so with [`FiscalCode::as_str`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FiscalCode(String);

/// What is wrong with a fiscal code. The texts never repeat the code itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FiscalCodeError {
    /// Neither sixteen characters nor eleven digits.
    #[error("il codice fiscale deve avere 16 caratteri (o 11 cifre se provvisorio)")]
    Length,
    /// A character that cannot stand there; the position counts from 1.
    #[error("il codice fiscale ha un carattere non valido in posizione {0}")]
    Character(usize),
    /// Month letter and day are not those of a date.
    #[error("il codice fiscale contiene una data di nascita impossibile")]
    BirthDate,
    /// The last character does not match the others: most likely a typing mistake.
    #[error("il codice fiscale è errato: il carattere di controllo non corrisponde")]
    Control,
}

/// A person's sex as the code tells it (40 is added to the day of birth of women).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// Male.
    Male,
    /// Female.
    Female,
}

const MONTHS: &[u8; 12] = b"ABCDEHLMPRST";
/// Stand-ins for the digits 0–9 of a code changed for omocodia.
const STAND_INS: &[u8; 10] = b"LMNPQRSTUV";
/// Where digits stand (from 0): year, day, place.
const DIGIT_POSITIONS: [usize; 7] = [6, 7, 9, 10, 12, 13, 14];
/// What a character in an odd position (from 1) counts: digits 0–9, and the letters A–J alike.
const ODD: [u8; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

impl FiscalCode {
    /// The code, sixteen capitals and digits or eleven digits. Not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it a provisional code of eleven digits?
    pub fn is_provisional(&self) -> bool {
        self.0.len() == 11
    }

    /// The day of birth, the latest that the code allows and that is not after `today`: the century is not told. `None` for a provisional
    /// code, which tells none.
    pub fn born(&self, today: NaiveDate) -> Option<NaiveDate> {
        let code = self.0.as_bytes();
        let digit = |at: usize| match *code.get(at)? {
            byte @ b'0'..=b'9' => Some(u32::from(byte - b'0')),
            byte => STAND_INS.iter().position(|&letter| letter == byte).map(|value| value as u32),
        };
        let month = MONTHS.iter().position(|letter| Some(letter) == code.get(8))? as u32 + 1;
        let year = i32::try_from(digit(6)? * 10 + digit(7)?).ok()?;
        let day = digit(9)? * 10 + digit(10)?;
        let day = if day > 40 { day - 40 } else { day };
        [2000, 1900].into_iter().filter_map(|century| NaiveDate::from_ymd_opt(century + year, month, day)).find(|born| *born <= today)
    }

    /// Composes a person's code. `place` is the cadastral code of the place of birth: a letter and
    /// three digits.
    ///
    /// # Errors
    /// [`FiscalCodeError::Character`] where the place has another form.
    pub fn compose(last_name: &str, first_name: &str, born: NaiveDate, sex: Sex, place: &str) -> Result<Self, FiscalCodeError> {
        let month = MONTHS.get(born.month0() as usize).copied().map_or('A', char::from);
        let day = born.day() + if sex == Sex::Female { 40 } else { 0 };
        let mut code = format!(
            "{}{}{:02}{month}{day:02}{place}",
            three_letters(last_name, false),
            three_letters(first_name, true),
            born.year().rem_euclid(100)
        );
        let control = control_letter(code.as_bytes()).ok_or(FiscalCodeError::Character(12))?;
        code.push(control);
        code.parse()
    }
}

impl FromStr for FiscalCode {
    type Err = FiscalCodeError;

    /// Reads a code; spaces, dots and dashes between the characters and lower case are forgiven.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '.' | '-')).collect::<String>().to_ascii_uppercase();
        match code.chars().count() {
            16 => check_person(code.as_bytes())?,
            11 => check_provisional(&code)?,
            _ => return Err(FiscalCodeError::Length),
        }
        Ok(Self(code))
    }
}

impl TryFrom<String> for FiscalCode {
    type Error = FiscalCodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FiscalCode> for String {
    fn from(code: FiscalCode) -> Self {
        code.0
    }
}

impl fmt::Debug for FiscalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FiscalCode(****)")
    }
}

fn check_person(code: &[u8]) -> Result<(), FiscalCodeError> {
    let mut plain = [0u8; 16];
    if code.len() != plain.len() {
        // Sixteen characters, not all of them ASCII.
        let wrong = code.iter().position(|byte| !byte.is_ascii()).unwrap_or_default();
        return Err(FiscalCodeError::Character(wrong + 1));
    }
    for (position, (&byte, plain)) in code.iter().zip(plain.iter_mut()).enumerate() {
        let digit = DIGIT_POSITIONS.contains(&position);
        *plain = match byte {
            b'0'..=b'9' if digit => byte,
            b'A'..=b'Z' if digit => match STAND_INS.iter().position(|&letter| letter == byte) {
                Some(value) => b'0' + value as u8,
                None => return Err(FiscalCodeError::Character(position + 1)),
            },
            b'A'..=b'Z' => byte,
            _ => return Err(FiscalCodeError::Character(position + 1)),
        };
    }
    let month = MONTHS.iter().position(|&letter| letter == plain[8]).ok_or(FiscalCodeError::Character(9))? as u32 + 1;
    let two_digits = |at: usize| u32::from(plain[at] - b'0') * 10 + u32::from(plain[at + 1] - b'0');
    let day = two_digits(9);
    let day = if day > 40 { day - 40 } else { day };
    // The century is not told: the date is possible if it is in one of the two around us.
    let years = [1900, 2000].map(|century| century + two_digits(6) as i32);
    if !years.iter().any(|&year| NaiveDate::from_ymd_opt(year, month, day).is_some()) {
        return Err(FiscalCodeError::BirthDate);
    }
    // The control letter is reckoned on the code as written, stand-ins included.
    if control_letter(&code[..15]) != Some(char::from(code[15])) {
        return Err(FiscalCodeError::Control);
    }
    Ok(())
}

/// Control letter of the first fifteen characters; `None` if one of them is no capital or digit.
fn control_letter(first: &[u8]) -> Option<char> {
    let mut sum = 0u32;
    for (index, byte) in first.iter().enumerate() {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A',
            _ => return None,
        };
        sum += u32::from(if index % 2 == 0 { ODD[usize::from(value)] } else { value });
    }
    (first.len() == 15).then(|| char::from(b'A' + (sum % 26) as u8))
}

/// Eleven digits whose last is the Luhn control of the others, as in a VAT number.
fn check_provisional(code: &str) -> Result<(), FiscalCodeError> {
    let mut sum = 0;
    for (index, character) in code.chars().enumerate() {
        let digit = character.to_digit(10).ok_or(FiscalCodeError::Character(index + 1))?;
        let doubled = digit * 2;
        sum += if index % 2 == 0 { digit } else { doubled / 10 + doubled % 10 };
    }
    if sum % 10 == 0 { Ok(()) } else { Err(FiscalCodeError::Control) }
}

/// The three letters of a surname or a first name: consonants, then vowels, then `X`. Of a first name
/// with more than three consonants the second is left out.
fn three_letters(name: &str, first_name: bool) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    let letters = name.nfd().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase());
    let (vowels, mut consonants): (Vec<char>, Vec<char>) = letters.partition(|c| matches!(c, 'A' | 'E' | 'I' | 'O' | 'U'));
    if first_name && consonants.len() > 3 {
        consonants.remove(1);
    }
    consonants.into_iter().chain(vowels).chain(['X'; 3]).take(3).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The specimen code of the Revenue Agency's forms.
    const SPECIMEN: &str = "RSSMRA85T10A562S";

    fn person(born: (i32, u32, u32), sex: Sex) -> FiscalCode {
        let born = NaiveDate::from_ymd_opt(born.0, born.1, born.2).expect("a date");
        FiscalCode::compose("Rossi", "Mario", born, sex, "A562").expect("a code")
    }

    #[test]
    fn well_known_codes_are_accepted_however_written() {
        for text in [SPECIMEN, "rssmra85t10a562s", " RSS MRA 85T10 A562S ", "MRTMTT25D09F205Z"] {
            assert!(text.parse::<FiscalCode>().is_ok(), "{text}");
        }
        assert_eq!(person((1985, 12, 10), Sex::Male).as_str(), SPECIMEN);
    }

    #[test]
    fn a_code_changed_for_omocodia_is_accepted() {
        let changed = "RSSMRA85T10A56N";
        let control = control_letter(changed.as_bytes()).expect("a letter");
        let code = format!("{changed}{control}");
        assert!(code.parse::<FiscalCode>().is_ok());
        assert_ne!(control, 'S', "the control letter follows the code as written");
    }

    #[test]
    fn provisional_codes_have_eleven_digits_and_a_control_digit() {
        let code: FiscalCode = "12345678903".parse().expect("valid");
        assert!(code.is_provisional());
        assert_eq!("12345678904".parse::<FiscalCode>(), Err(FiscalCodeError::Control));
        assert_eq!("1234567890A".parse::<FiscalCode>(), Err(FiscalCodeError::Character(11)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", FiscalCodeError::Length),
            ("RSSMRA85T10A562", FiscalCodeError::Length),
            ("RSSMRA85T10A562T", FiscalCodeError::Control),
            ("RSSMRA85T10A56WS", FiscalCodeError::Character(15)),
            ("R5SMRA85T10A562S", FiscalCodeError::Character(2)),
            ("RSSMRA85Z10A562S", FiscalCodeError::Character(9)),
            ("RSSMRA85B30A562S", FiscalCodeError::BirthDate),
            ("RSSMRA85T32A562S", FiscalCodeError::BirthDate),
            ("RSSMRA85T10A56èS", FiscalCodeError::Character(15)),
        ] {
            assert_eq!(text.parse::<FiscalCode>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_day_of_a_woman_is_told_with_forty_more() {
        assert_eq!(&person((2017, 3, 9), Sex::Female).as_str()[6..11], "17C49");
    }

    #[test]
    fn names_become_three_letters() {
        for (name, first, letters) in [
            ("Rossi", false, "RSS"),
            ("Fo", false, "FOX"),
            ("Aiello", false, "LLA"),
            ("D'Amico", false, "DMC"),
            ("De Luca", false, "DLC"),
            ("Gianfranco", true, "GFR"),
            ("Nicolò", true, "NCL"),
            ("Ada", true, "DAA"),
            ("Li", false, "LIX"),
        ] {
            assert_eq!(three_letters(name, first), letters, "{name}");
        }
    }

    #[test]
    fn the_day_of_birth_is_told_but_for_its_century() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 25).expect("a date");
        let born = |code: &str| code.parse::<FiscalCode>().expect("valid").born(today).map(|day| day.to_string());
        assert_eq!(born(SPECIMEN).as_deref(), Some("1985-12-10"));
        assert_eq!(born("12345678903"), None);
        assert_eq!(person((2017, 3, 9), Sex::Female).born(today), NaiveDate::from_ymd_opt(2017, 3, 9));
        assert_eq!(person((2026, 11, 26), Sex::Male).born(today), NaiveDate::from_ymd_opt(1926, 11, 26), "not born yet");
        assert_eq!(person((2020, 2, 29), Sex::Female).born(today), NaiveDate::from_ymd_opt(2020, 2, 29));
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let code: FiscalCode = SPECIMEN.parse().expect("valid");
        assert_eq!(format!("{code:?}"), "FiscalCode(****)");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_answered(text in "\\PC{0,20}") {
            let _ = text.parse::<FiscalCode>();
        }

        #[test]
        fn a_composed_code_is_valid_and_one_wrong_control_letter_is_seen(
            last in "[A-Za-z' ]{1,20}", first in "[A-Za-z ]{1,20}", day in 0..36_000i64, female: bool, other in b'A'..=b'Z',
        ) {
            let born = NaiveDate::from_ymd_opt(1920, 1, 1).expect("a date") + chrono::TimeDelta::days(day);
            let sex = if female { Sex::Female } else { Sex::Male };
            let code = FiscalCode::compose(&last, &first, born, sex, "H501").expect("composed");
            prop_assert_eq!(code.as_str().parse(), Ok(code.clone()));
            let changed = format!("{}{}", &code.as_str()[..15], char::from(other));
            prop_assert_eq!(changed.parse::<FiscalCode>().is_ok(), changed == code.as_str());
        }
    }
}
