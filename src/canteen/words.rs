//! Days and times as Italians write them.

use chrono::{Datelike, NaiveDate, NaiveTime};

/// "giovedì 12 ottobre 2026".
pub fn day_in_words(day: NaiveDate) -> String {
    const WEEKDAYS: [&str; 7] = ["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"];
    format!("{} {}", WEEKDAYS[day.weekday().num_days_from_monday() as usize], date_in_words(day))
}

/// "12 ottobre 2026".
pub fn date_in_words(day: NaiveDate) -> String {
    let number = if day.day() == 1 { "1º".to_owned() } else { day.day().to_string() };
    format!("{number} {} {}", month_in_words(day.month()), day.year())
}

/// "ottobre" for 10.
pub fn month_in_words(month: u32) -> &'static str {
    const MONTHS: [&str; 12] =
        ["gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"];
    MONTHS.get((month as usize).wrapping_sub(1)).copied().unwrap_or_default()
}

/// "8:55".
pub fn time_in_words(time: NaiveTime) -> String {
    time.format("%-H:%M").to_string()
}
