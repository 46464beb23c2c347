//! Months and the days of one.

use std::{fmt, str::FromStr};

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::canteen::words::month_in_words;

/// A month of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month {
    first: NaiveDate,
}

/// Not a month as `2026-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("un mese si scrive come 2026-10")]
pub struct NoMonth;

impl Month {
    /// The month that a day is in.
    pub fn of(day: NaiveDate) -> Self {
        Self { first: day.with_day(1).unwrap_or(day) }
    }

    /// Its first day.
    pub fn first(self) -> NaiveDate {
        self.first
    }

    /// Its last day.
    pub fn last(self) -> NaiveDate {
        self.next().first.checked_sub_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self { first: self.first.checked_add_months(Months::new(1)).unwrap_or(self.first) }
    }

    /// The month before it.
    #[must_use]
    pub fn previous(self) -> Self {
        Self { first: self.first.checked_sub_months(Months::new(1)).unwrap_or(self.first) }
    }

    /// One of its days, counted from 1.
    pub fn day(self, number: u32) -> Option<NaiveDate> {
        self.first.with_day(number)
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        let plain = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(year, 4) || !plain(month, 2) {
            return Err(NoMonth);
        }
        let first = NaiveDate::from_ymd_opt(year.parse().map_err(|_| NoMonth)?, month.parse().map_err(|_| NoMonth)?, 1);
        first.map(|first| Self { first }).ok_or(NoMonth)
    }
}

impl fmt::Display for Month {
    /// "ottobre 2026".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", month_in_words(self.first.month()), self.first.year())
    }
}

/// Days of one month: bit 0 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DaySet(u32);

impl DaySet {
    /// From what was stored: bits beyond the 31st day are no days.
    pub fn from_bits(bits: i64) -> Option<Self> {
        u32::try_from(bits).ok().filter(|bits| bits >> 31 == 0).map(Self)
    }

    /// As it is stored.
    pub fn bits(self) -> i64 {
        self.0.into()
    }

    /// Adds the day.
    pub fn insert(&mut self, day: NaiveDate) {
        self.0 |= 1 << day.day0();
    }

    /// Takes the day away.
    pub fn remove(&mut self, day: NaiveDate) {
        self.0 &= !(1 << day.day0());
    }

    /// Is the day, of whichever month it is, among them?
    pub fn contains(self, day: NaiveDate) -> bool {
        self.0 & (1 << day.day0()) != 0
    }

    /// How many.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// None?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and those.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As days of `month`, in order; a day that it does not have is left out.
    pub fn days_of(self, month: Month) -> impl Iterator<Item = NaiveDate> {
        (0..31).filter(move |n| self.0 & (1 << n) != 0).filter_map(move |n| month.day(n + 1))
    }
}

impl FromIterator<NaiveDate> for DaySet {
    fn from_iter<I: IntoIterator<Item = NaiveDate>>(days: I) -> Self {
        let mut set = Self::default();
        days.into_iter().for_each(|day| set.insert(day));
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_month_knows_its_days() {
        let february: Month = "2028-02".parse().unwrap();
        assert_eq!((february.last().day(), february.next().first().month(), february.previous().first().month()), (29, 3, 1));
        assert_eq!(february.to_string(), "febbraio 2028");
        for wrong in ["2026-13", "2026", "10-2026", "2026-1", "+026-10", "2026-1é", ""] {
            assert_eq!(wrong.parse::<Month>(), Err(NoMonth), "{wrong}");
        }
        assert_eq!((DaySet::from_bits(-1), DaySet::from_bits(1 << 31)), (None, None));
    }

    proptest! {
        #[test]
        fn the_days_come_back(bits in 0u32..1 << 31, month in 0u32..600) {
            let month = Month::of(NaiveDate::from_ymd_opt(2000, 1, 1).unwrap() + Months::new(month));
            let set = DaySet::from_bits(bits.into()).unwrap();
            let days: Vec<_> = set.days_of(month).collect();
            prop_assert!(days.iter().all(|day| Month::of(*day) == month && set.contains(*day)));
            prop_assert!(days.is_sorted());
            let again: DaySet = days.into_iter().collect();
            prop_assert_eq!(again.union(set), set);
        }
    }
}
