//! The window in which operations are taken, and the cut-off of each day (R2, R5).

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

/// When an ente's line takes operations: settings of the ente (design §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Local time at which the phone window opens, for the next day (18:00).
    pub opens: NaiveTime,
    /// Local time until which a day can still be changed, both on the phone and on the web (09:00).
    pub cutoff: NaiveTime,
    /// The ente's time zone (Europe/Rome).
    pub zone: Tz,
}

impl Default for Window {
    fn default() -> Self {
        Self { opens: hour(18), cutoff: hour(9), zone: chrono_tz::Europe::Rome }
    }
}

/// A full hour; the defaults above need no fallible construction.
fn hour(h: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(h, 0, 0).unwrap_or(NaiveTime::MIN)
}

impl Window {
    /// Local date and time of an instant, cut to whole seconds (R2).
    pub fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        let local = at.with_timezone(&self.zone).naive_local();
        local.with_nanosecond(0).unwrap_or(local)
    }

    /// The day from which a phone operation searches its first useful day, or `None` outside the
    /// window (R2, R3). A window whose opening is not after its cut-off lies within one day.
    pub fn search_start(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let local = self.local(at);
        let (day, time) = (local.date(), local.time());
        if self.opens > self.cutoff {
            if time >= self.opens {
                day.checked_add_days(Days::new(1))
            } else if time <= self.cutoff {
                Some(day)
            } else {
                None
            }
        } else {
            (self.opens <= time && time <= self.cutoff).then_some(day)
        }
    }

    /// Can `day` still be changed at `at` (R5)? True until the day's cut-off, both ends included.
    pub fn day_is_open(&self, day: NaiveDate, at: DateTime<Utc>) -> bool {
        self.local(at) <= day.and_time(self.cutoff)
    }

    /// The first instant (UTC) at which `day` cannot be changed any more: one second after the
    /// cut-off, since 09:00:00 itself is still in. In a skipped hour the first instant after it.
    pub fn closes_after(&self, day: NaiveDate) -> DateTime<Utc> {
        self.instant(day.and_time(self.cutoff) + TimeDelta::seconds(1))
    }

    /// The instant of a local date and time: the later one where the clock shows it twice, the
    /// first that exists after it where the clock skips it.
    pub fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        // A zone never skips more than a day; 96 quarters of an hour always find an existing time.
        (0..=96)
            .find_map(|quarters| (local + TimeDelta::minutes(15 * quarters)).and_local_timezone(self.zone).latest())
            .map_or_else(|| local.and_utc(), |t| t.with_timezone(&Utc))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn rome(text: &str) -> DateTime<Utc> {
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap();
        chrono_tz::Europe::Rome.from_local_datetime(&local).latest().unwrap().with_timezone(&Utc)
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_of_the_window_are_in_to_the_second() {
        let w = Window::default();
        for (at, start) in [
            ("2026-10-12 17:59:59.999", None),
            ("2026-10-12 18:00:00", Some("2026-10-13")),
            ("2026-10-12 23:59:59.9", Some("2026-10-13")),
            ("2026-10-13 00:00:00", Some("2026-10-13")),
            ("2026-10-13 09:00:00", Some("2026-10-13")),
            ("2026-10-13 09:00:00.999", Some("2026-10-13")),
            ("2026-10-13 09:00:01", None),
        ] {
            assert_eq!(w.search_start(rome(at)), start.map(day), "{at}");
        }
    }

    #[test]
    fn the_cutoff_is_local_on_both_sides_of_a_clock_change() {
        let w = Window::default();
        // 25 October 2026: the clock goes back at 3; 09:00 is 08:00 UTC, the day before it was 07:00 UTC.
        assert_eq!(w.closes_after(day("2026-10-24")), Utc.with_ymd_and_hms(2026, 10, 24, 7, 0, 1).unwrap());
        assert_eq!(w.closes_after(day("2026-10-25")), Utc.with_ymd_and_hms(2026, 10, 25, 8, 0, 1).unwrap());
        assert!(w.day_is_open(day("2026-10-25"), Utc.with_ymd_and_hms(2026, 10, 25, 8, 0, 0).unwrap()));
        assert!(!w.day_is_open(day("2026-10-25"), Utc.with_ymd_and_hms(2026, 10, 25, 8, 0, 1).unwrap()));
    }

    #[test]
    fn a_local_time_that_does_not_exist_becomes_the_next_that_does() {
        let w = Window::default();
        let skipped = day("2027-03-28").and_hms_opt(2, 30, 0).unwrap();
        assert_eq!(w.instant(skipped), Utc.with_ymd_and_hms(2027, 3, 28, 1, 0, 0).unwrap());
    }

    #[test]
    fn a_window_within_one_day() {
        let w = Window { opens: hour(6), ..Window::default() };
        assert_eq!(w.search_start(rome("2026-10-12 05:59:59")), None);
        assert_eq!(w.search_start(rome("2026-10-12 06:00:00")), Some(day("2026-10-12")));
        assert_eq!(w.search_start(rome("2026-10-12 18:00:00")), None);
    }
}
