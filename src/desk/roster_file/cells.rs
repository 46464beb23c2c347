//! What a cell means: text, dates, weekdays, keypad codes, addresses.

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate, Weekday, WeekdaySet};

use super::grid::Cell;
use crate::canteen::{fiscal_code::FiscalCode, roster::fold};

/// Why a cell cannot be used, in Italian.
pub(super) type Reason = String;

const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Mon, "lunedi"),
    (Weekday::Tue, "martedi"),
    (Weekday::Wed, "mercoledi"),
    (Weekday::Thu, "giovedi"),
    (Weekday::Fri, "venerdi"),
    (Weekday::Sat, "sabato"),
    (Weekday::Sun, "domenica"),
];

/// Text; whole numbers of a workbook (a class called 3, a telephone number) as they are shown.
pub(super) fn text(cell: &Cell) -> Result<Option<String>, Reason> {
    match cell {
        Cell::Empty => Ok(None),
        Cell::Text(text) => Ok(Some(text.clone())),
        Cell::Number(number) => whole(*number).map(|whole| Some(whole.to_string())).ok_or_else(|| "non è un numero intero".to_owned()),
        Cell::Date(_) => Err("contiene una data".to_owned()),
        Cell::Unusable(reason) => Err((*reason).to_owned()),
    }
}

fn whole(number: f64) -> Option<i64> {
    // Fifteen digits are what a spreadsheet keeps exactly.
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

/// A day between 2000 and 2100.
pub(super) fn date(cell: &Cell) -> Result<Option<NaiveDate>, Reason> {
    let day = match cell {
        Cell::Date(day) => *day,
        Cell::Text(text) => date_text(text).ok_or_else(|| "non è una data valida (scrivere gg/mm/aaaa)".to_owned())?,
        Cell::Number(_) => return Err("è un numero: dare alla cella il formato data o scrivere gg/mm/aaaa".to_owned()),
        Cell::Empty | Cell::Unusable(_) => return text(cell).map(|_| None),
    };
    if (2000..=2100).contains(&day.year()) { Ok(Some(day)) } else { Err("la data è troppo lontana".to_owned()) }
}

fn date_text(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split(['/', '-', '.']);
    let (one, two, three) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten();
    let (year, month, day) = match (one.len(), two.len(), three.len()) {
        (4, 1 | 2, 1 | 2) => (number(one)?, number(two)?, number(three)?),
        (1 | 2, 1 | 2, 4) => (number(three)?, number(two)?, number(one)?),
        (1 | 2, 1 | 2, 2) => (2000 + number(three)?, number(two)?, number(one)?),
        _ => return None,
    };
    if parts.next().is_some() {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

/// Days of the week: `lun mar gio`, `lunedì, martedì`, `dal lunedì al venerdì`, `tutti`.
pub(super) fn weekdays(cell: &Cell) -> Result<Option<WeekdaySet>, Reason> {
    let Some(text) = text(cell)? else { return Ok(None) };
    let folded = fold(&text);
    let words: Vec<&str> = folded.split(' ').filter(|word| *word != "e").collect();
    match words.as_slice() {
        ["tutti"] | ["tutti", "i", "giorni"] => return Ok(Some(span(Weekday::Mon, Weekday::Fri))),
        ["nessuno"] => return Ok(Some(WeekdaySet::EMPTY)),
        ["dal", first, "al", last] | ["da", first, "a", last] => return Ok(Some(span(weekday(first)?, weekday(last)?))),
        // "lun-ven" is mostly a span, "mar-gio" mostly two days: the office must say which.
        [_, _] if text.contains(['-', '–']) && !text.contains([',', ';', '/']) => {
            return Err("non è chiaro se sono due giorni o un intervallo: scrivere «mar gio» oppure «dal lunedì al venerdì»".to_owned());
        }
        _ => {}
    }
    let mut days = WeekdaySet::EMPTY;
    for word in words {
        if !days.insert(weekday(word)?) {
            return Err("un giorno è scritto due volte".to_owned());
        }
    }
    Ok(Some(days))
}

fn weekday(word: &str) -> Result<Weekday, Reason> {
    // Two letters tell every day from the others; "m" could be Tuesday or Wednesday.
    let found = WEEKDAYS.iter().find(|(_, name)| word.len() >= 2 && name.starts_with(word));
    found.map(|(day, _)| *day).ok_or_else(|| "non è un elenco di giorni (scrivere per esempio «lun mar gio»)".to_owned())
}

fn span(first: Weekday, last: Weekday) -> WeekdaySet {
    let mut days = WeekdaySet::EMPTY;
    let mut day = first;
    loop {
        days.insert(day);
        if day == last {
            return days;
        }
        day = day.succ();
    }
}

/// A tick: `x`, `sì`, `1`; empty, `no`, `-` and `0` are none.
pub(super) fn tick(cell: &Cell) -> Result<bool, Reason> {
    let Some(text) = text(cell)? else { return Ok(false) };
    match fold(&text).as_str() {
        "x" | "si" | "s" | "1" | "vero" => Ok(true),
        "no" | "n" | "0" | "falso" | "" => Ok(false),
        _ => Err("scrivere «x» oppure lasciare vuoto".to_owned()),
    }
}

/// A seven-digit keypad code. Spreadsheets drop leading zeros; the check digit tells whether putting them back was right.
pub(super) fn keypad_code(cell: &Cell, is_valid: &dyn Fn(&str) -> bool) -> Result<Option<String>, Reason> {
    let Some(text) = text(cell)? else { return Ok(None) };
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !(5..=7).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("il codice disdetta deve avere 7 cifre".to_owned());
    }
    let code = format!("{digits:0>7}");
    if is_valid(&code) { Ok(Some(code)) } else { Err("il codice disdetta è errato: la cifra di controllo non corrisponde".to_owned()) }
}

/// A fiscal code.
pub(super) fn fiscal_code(cell: &Cell) -> Result<Option<FiscalCode>, Reason> {
    let Some(text) = text(cell)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: crate::canteen::fiscal_code::FiscalCodeError| error.to_string())
}

/// An e-mail address, lower case: something, one `@`, a domain with a dot.
pub(super) fn email(cell: &Cell) -> Result<Option<String>, Reason> {
    let Some(text) = text(cell)? else { return Ok(None) };
    let address = text.to_lowercase();
    let sound = address.split_once('@').is_some_and(|(local, domain)| {
        let allowed = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | ',' | ';' | '<' | '>' | '"' | '(' | ')');
        let labels = domain.split('.').all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'));
        !local.is_empty() && local.len() <= 64 && local.chars().all(allowed) && labels && domain.contains('.')
    });
    if sound && address.len() <= 254 { Ok(Some(address)) } else { Err("non è un indirizzo e-mail valido".to_owned()) }
}

/// A telephone number: digits, with a leading `+` where the country is told (`00` becomes `+`).
pub(super) fn phone(cell: &Cell) -> Result<Option<String>, Reason> {
    let Some(text) = text(cell)? else { return Ok(None) };
    let mut number = String::new();
    for c in text.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '/' | '(' | ')')) {
        match c {
            '0'..='9' => number.push(c),
            '+' if number.is_empty() => number.push(c),
            _ => return Err("non è un numero di telefono".to_owned()),
        }
    }
    if let Some(abroad) = number.strip_prefix("00") {
        number = format!("+{abroad}");
    }
    // ITU-T E.164: at most fifteen digits.
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if (6..=15).contains(&digits) { Ok(Some(number)) } else { Err("non è un numero di telefono".to_owned()) }
}

/// Some words as an Italian list: `«a», «b»`.
pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for word in words {
        if !list.is_empty() {
            list.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(list, "«{word}»");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_cell(text: &str) -> Cell {
        Cell::text(text)
    }

    #[test]
    fn dates_as_the_office_writes_them() {
        let meant = NaiveDate::from_ymd_opt(2026, 9, 4);
        for text in ["04/09/2026", "4/9/2026", "4-9-2026", "04.09.2026", "2026-09-04", "4/9/26"] {
            assert_eq!(date(&text_cell(text)), Ok(meant), "{text}");
        }
        assert_eq!(date(&Cell::Empty), Ok(None));
        for text in ["31/02/2026", "09/30/2026", "2026", "4 settembre", "4/9/2026/1", "+4/9/2026", "4/9/1926", "46279", "//"] {
            assert!(date(&text_cell(text)).is_err(), "{text}");
        }
        assert!(date(&Cell::Number(46_279.0)).is_err());
    }

    #[test]
    fn weekdays_as_the_office_writes_them() {
        use Weekday::{Fri, Mon, Thu, Tue, Wed};
        let days = |days: &[Weekday]| Ok(Some(days.iter().copied().collect::<WeekdaySet>()));
        for (text, meant) in [
            ("lun mar gio", &[Mon, Tue, Thu][..]),
            ("Lunedì, Mercoledì e Venerdì", &[Mon, Wed, Fri]),
            ("lu/me/gi", &[Mon, Wed, Thu]),
            ("lun-mar-gio", &[Mon, Tue, Thu]),
            ("dal lunedì al venerdì", &[Mon, Tue, Wed, Thu, Fri]),
            ("tutti", &[Mon, Tue, Wed, Thu, Fri]),
            ("nessuno", &[]),
            ("mar", &[Tue]),
        ] {
            assert_eq!(weekdays(&text_cell(text)), days(meant), "{text}");
        }
        for text in ["LMG", "lun-ven", "lun lun", "lun x", "1 2 3", "-"] {
            assert!(weekdays(&text_cell(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn codes_get_back_the_zeros_a_spreadsheet_dropped() {
        let valid = |code: &str| code == "0012345";
        assert_eq!(keypad_code(&Cell::Number(12_345.0), &valid), Ok(Some("0012345".into())));
        assert_eq!(keypad_code(&text_cell("001 2345"), &valid), Ok(Some("0012345".into())));
        for cell in [text_cell("7654321"), text_cell("12a4567"), text_cell("12345678"), text_cell("1"), Cell::Number(1.5)] {
            let reason = keypad_code(&cell, &valid).expect_err("refused");
            assert!(!reason.contains("7654321"), "the code is not repeated");
        }
    }

    #[test]
    fn telephone_numbers_and_addresses() {
        assert_eq!(phone(&text_cell("+39 333 123.45.67")), Ok(Some("+393331234567".into())));
        assert_eq!(phone(&text_cell("0039 06/12345678")), Ok(Some("+390612345678".into())));
        assert_eq!(phone(&Cell::Number(3_331_234_567.0)), Ok(Some("3331234567".into())));
        for text in ["12", "333 abc", "3+33", "1234567890123456"] {
            assert!(phone(&text_cell(text)).is_err(), "{text}");
        }
        assert_eq!(email(&text_cell("Anna.Rossi@Esempio.IT")), Ok(Some("anna.rossi@esempio.it".into())));
        for text in ["anna", "anna@", "@esempio.it", "a b@esempio.it", "a@b", "a@b..it", "a@b.it, c@d.it"] {
            assert!(email(&text_cell(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn ticks() {
        assert_eq!(tick(&text_cell("X")), Ok(true));
        assert_eq!(tick(&text_cell("sì")), Ok(true));
        assert_eq!(tick(&Cell::Number(1.0)), Ok(true));
        assert_eq!(tick(&text_cell("-")), Ok(false));
        assert_eq!(tick(&Cell::Empty), Ok(false));
        assert!(tick(&text_cell("forse")).is_err());
    }
}
