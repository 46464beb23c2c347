//! The demo's school year: an Italian calendar as a region and a comune would set it.

use chrono::{Datelike, NaiveDate, TimeDelta, Weekday};

use super::{INFANZIA, PRIMARIA, SECONDARIA, YearOutOfRange};
use crate::canteen::{
    holidays::easter,
    roster::{CalendarRows, ClosureRow, Scope, TermRow},
};

/// First day of the school year's service, and so the year's first day of term.
pub(super) fn first_day(first_year: i32) -> Result<NaiveDate, YearOutOfRange> {
    Ok(on_or_after(date(first_year, 9, 10)?, Weekday::Mon))
}

/// Terms and closures of the school year that starts in September of `first_year`.
pub(super) fn calendar(first_year: i32) -> Result<CalendarRows, YearOutOfRange> {
    let next = first_year + 1;
    let start = first_day(first_year)?;
    let end = on_or_before_school_day(date(next, 6, 8)?);
    let easter = easter(next).ok_or(YearOutOfRange(first_year))?;

    let terms = vec![
        TermRow { school: None, first: start, last: end },
        TermRow { school: Some(INFANZIA.into()), first: start, last: on_or_before_school_day(date(next, 6, 30)?) },
        // The canteen of the middle school opens a week after the lessons, with the final timetable.
        TermRow { school: Some(SECONDARIA.into()), first: start + TimeDelta::days(7), last: end },
    ];

    let ente = |first: NaiveDate, last: NaiveDate, reason: &str| ClosureRow { scope: Scope::Ente, first, last, reason: reason.into() };
    // Polling stations open on Sunday and Monday and are given back on Tuesday; counted from the third Sunday of May.
    let vote = on_or_after(date(next, 5, 15)?, Weekday::Sun);
    let trip = on_or_after(date(next, 4, 14)?, Weekday::Thu);
    let closures = vec![
        ente(date(first_year, 11, 2)?, date(first_year, 11, 2)?, "Commemorazione dei defunti"),
        ente(date(first_year, 11, 11)?, date(first_year, 11, 11)?, "Festa del patrono San Martino"),
        ente(date(first_year, 12, 23)?, date(next, 1, 6)?, "Vacanze di Natale"),
        // Shrove Monday and Tuesday.
        ente(easter - TimeDelta::days(48), easter - TimeDelta::days(47), "Carnevale"),
        ente(easter - TimeDelta::days(3), easter + TimeDelta::days(2), "Vacanze di Pasqua"),
        ClosureRow {
            scope: Scope::School { school: PRIMARIA.into() },
            first: vote,
            last: vote + TimeDelta::days(2),
            reason: "Consultazioni elettorali: la scuola è sede di seggio".into(),
        },
        ClosureRow {
            scope: Scope::Class { school: PRIMARIA.into(), class: "5A".into() },
            first: trip,
            last: trip,
            reason: "Uscita didattica con pranzo al sacco".into(),
        },
    ];
    let mut calendar = CalendarRows { school_year: Some(format!("{first_year}/{next}")), terms, closures };
    calendar.add_national_holidays();
    Ok(calendar)
}

/// A date of the demo's year.
pub(super) fn date(year: i32, month: u32, day: u32) -> Result<NaiveDate, YearOutOfRange> {
    NaiveDate::from_ymd_opt(year, month, day).ok_or(YearOutOfRange(year))
}

fn on_or_after(day: NaiveDate, weekday: Weekday) -> NaiveDate {
    day + TimeDelta::days(i64::from(weekday.days_since(day.weekday())))
}

fn on_or_before_school_day(day: NaiveDate) -> NaiveDate {
    let back = match day.weekday() {
        Weekday::Sat => 1,
        Weekday::Sun => 2,
        _ => 0,
    };
    day - TimeDelta::days(back)
}
