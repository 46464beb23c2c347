//! Italian national holidays: days on which no school canteen serves.
//!
//! Source: law 27 May 1949 n. 260, art. 1 and 2, as changed by law 5 March 1977 n. 54, presidential
//! decree 28 December 1985 n. 792 (Epiphany), law 20 November 2000 n. 336 (2 June) and law 8 October
//! 2025 n. 151 (San Francesco). The patron saint of each comune is local and comes with its calendar.

use chrono::{Datelike, NaiveDate, TimeDelta};

/// A national holiday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holiday {
    /// The day.
    pub day: NaiveDate,
    /// Its Italian name, as the office and families read it.
    pub name: &'static str,
}

/// Holidays with a fixed date: month, day, first year in which the law in force knows it, name.
const FIXED: [(u32, u32, i32, &str); 11] = [
    (1, 1, 0, "Capodanno"),
    (1, 6, 0, "Epifania"),
    (4, 25, 0, "Anniversario della Liberazione"),
    (5, 1, 0, "Festa del lavoro"),
    (6, 2, 0, "Festa della Repubblica"),
    (8, 15, 0, "Assunzione di Maria Vergine"),
    // A holiday again from 1 January 2026 (law 151/2025, art. 1); it had been abolished in 1977.
    (10, 4, 2026, "San Francesco d'Assisi, patrono d'Italia"),
    (11, 1, 0, "Ognissanti"),
    (12, 8, 0, "Immacolata Concezione"),
    (12, 25, 0, "Natale"),
    (12, 26, 0, "Santo Stefano"),
];

/// Easter Sunday of a year of the Gregorian calendar; `None` before 1583 (the calendar's first whole
/// year) and where chrono has no such date.
///
/// The anonymous Gregorian computus (Meeus, *Astronomical Algorithms*, ch. 8).
pub fn easter(year: i32) -> Option<NaiveDate> {
    if year < 1583 {
        return None;
    }
    let golden = year % 19;
    let (century, in_century) = (year / 100, year % 100);
    let correction = (century - (century + 8) / 25 + 1) / 3;
    let epact = (19 * golden + century - century / 4 - correction + 15) % 30;
    let weekday = (32 + 2 * (century % 4) + 2 * (in_century / 4) - epact - in_century % 4) % 7;
    let shift = (golden + 11 * epact + 22 * weekday) / 451;
    let days = epact + weekday - 7 * shift + 114;
    NaiveDate::from_ymd_opt(year, u32::try_from(days / 31).ok()?, u32::try_from(days % 31 + 1).ok()?)
}

/// The national holidays of a year, in order. Sundays, holidays by the same law, are left to the days of
/// return of the classes. Right for the years from 2001 on, by the law as it stands in 2026; empty
/// before 1583.
pub fn national_holidays(year: i32) -> Vec<Holiday> {
    let Some(easter) = easter(year) else { return Vec::new() };
    let mut holidays: Vec<Holiday> = FIXED
        .iter()
        .filter(|(_, _, since, _)| year >= *since)
        .filter_map(|&(month, day, _, name)| Some(Holiday { day: NaiveDate::from_ymd_opt(year, month, day)?, name }))
        .collect();
    holidays.push(Holiday { day: easter, name: "Pasqua" });
    holidays.push(Holiday { day: easter + TimeDelta::days(1), name: "Lunedì dell'Angelo" });
    holidays.sort_by_key(|holiday| holiday.day);
    holidays
}

/// The national holidays from `first` to `last`, both included, in order.
pub fn national_holidays_between(first: NaiveDate, last: NaiveDate) -> Vec<Holiday> {
    (first.year()..=last.year()).flat_map(national_holidays).filter(|holiday| (first..=last).contains(&holiday.day)).collect()
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;
    use proptest::prelude::*;

    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).expect("a date")
    }

    #[test]
    fn easter_is_where_the_almanac_has_it() {
        for (year, month, of_month) in [
            (1583, 4, 10),
            (1818, 3, 22),
            (1954, 4, 18),
            (1981, 4, 19),
            (2000, 4, 23),
            (2008, 3, 23),
            (2011, 4, 24),
            (2024, 3, 31),
            (2025, 4, 20),
            (2026, 4, 5),
            (2027, 3, 28),
            (2028, 4, 16),
            (2038, 4, 25),
            (2049, 4, 18),
            (2076, 4, 19),
            (2285, 3, 22),
        ] {
            assert_eq!(easter(year), Some(day(year, month, of_month)), "{year}");
        }
        assert_eq!(easter(1582), None);
        assert_eq!(easter(i32::MIN), None);
        assert_eq!(easter(i32::MAX), None);
    }

    #[test]
    fn the_year_2027_as_families_read_it() {
        let read: Vec<String> =
            national_holidays(2027).iter().map(|holiday| format!("{} {}", holiday.day.format("%d/%m"), holiday.name)).collect();
        insta::assert_snapshot!(read.join("\n"), @r"
        01/01 Capodanno
        06/01 Epifania
        28/03 Pasqua
        29/03 Lunedì dell'Angelo
        25/04 Anniversario della Liberazione
        01/05 Festa del lavoro
        02/06 Festa della Repubblica
        15/08 Assunzione di Maria Vergine
        04/10 San Francesco d'Assisi, patrono d'Italia
        01/11 Ognissanti
        08/12 Immacolata Concezione
        25/12 Natale
        26/12 Santo Stefano
        ");
    }

    #[test]
    fn san_francesco_is_a_holiday_from_2026() {
        let has = |year| national_holidays(year).iter().any(|holiday| holiday.day == day(year, 10, 4));
        assert!(!has(2025));
        assert!(has(2026));
        assert!(has(2027));
    }

    #[test]
    fn a_span_includes_both_its_ends_and_may_cross_years() {
        let days: Vec<_> = national_holidays_between(day(2026, 12, 25), day(2027, 1, 6)).iter().map(|holiday| holiday.day).collect();
        assert_eq!(days, [day(2026, 12, 25), day(2026, 12, 26), day(2027, 1, 1), day(2027, 1, 6)]);
        assert!(national_holidays_between(day(2027, 1, 6), day(2026, 12, 25)).is_empty());
    }

    proptest! {
        #[test]
        fn easter_is_a_sunday_from_22_march_to_25_april(year in 1583..9999i32) {
            let easter = easter(year).expect("in range");
            prop_assert_eq!(easter.weekday(), Weekday::Sun);
            prop_assert!((day(year, 3, 22)..=day(year, 4, 25)).contains(&easter));
        }
    }
}
