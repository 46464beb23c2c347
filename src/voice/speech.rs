//! Spoken Italian: days, times and numbers as sequences of prompt names (design §7). Pure.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

/// "giovedì dodici ottobre": weekday, day of the month ("primo" for the first), month.
pub fn day(day: NaiveDate) -> [String; 3] {
    [format!("settimana_{}", day.weekday().number_from_monday()), format!("giorno_{}", day.day()), format!("mese_{}", day.month())]
}

/// "nove", "diciotto e trenta": hours, and minutes where there are any.
pub fn time(time: NaiveTime) -> Vec<String> {
    let mut names = vec![format!("numero_{}", time.hour())];
    if time.minute() != 0 {
        names.extend(["e".to_owned(), format!("numero_{}", time.minute())]);
    }
    names
}

/// Digit by digit, as numbers are read aloud to be written down.
pub fn digits(number: &str) -> impl Iterator<Item = String> + '_ {
    number.chars().filter(char::is_ascii_digit).map(|digit| format!("cifra_{digit}"))
}

/// Every prompt that days, times and digits can need.
pub fn all_names() -> impl Iterator<Item = String> {
    let numbered = |stem: &'static str, range: std::ops::RangeInclusive<u32>| range.map(move |n| format!("{stem}_{n}"));
    numbered("settimana", 1..=7)
        .chain(numbered("giorno", 1..=31))
        .chain(numbered("mese", 1..=12))
        .chain(numbered("cifra", 0..=9))
        .chain(numbered("numero", 0..=59))
        .chain(["e".to_owned()])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn days_and_times_are_said_as_people_say_them() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(day(date("2026-10-15")), ["settimana_4", "giorno_15", "mese_10"]);
        assert_eq!(day(date("2026-11-01")), ["settimana_7", "giorno_1", "mese_11"]);
        assert_eq!(time(NaiveTime::from_hms_opt(18, 0, 0).unwrap()), ["numero_18"]);
        assert_eq!(time(NaiveTime::from_hms_opt(9, 30, 0).unwrap()), ["numero_9", "e", "numero_30"]);
        assert_eq!(digits("102").collect::<Vec<_>>(), ["cifra_1", "cifra_0", "cifra_2"]);
    }

    #[test]
    fn whatever_can_be_said_is_among_the_names() {
        let names: HashSet<_> = all_names().collect();
        let start = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        assert!(start.iter_days().take(1_000).flat_map(day).all(|name| names.contains(&name)));
        assert!(
            (0..1_440).all(|minute| time(NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0).unwrap())
                .iter()
                .all(|n| names.contains(n)))
        );
    }
}
