//! On which days the service is provided to a child (R1, R3).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, WeekdaySet};

/// The service calendar as it concerns one child: the term of its school, the days of return of
/// its class, and every closure of ente, school and class that touches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCalendar {
    /// First day of the term.
    pub first: NaiveDate,
    /// Last day of the term.
    pub last: NaiveDate,
    /// Days of return ("rientri").
    pub weekdays: WeekdaySet,
    /// Days of return from a day on, where they changed within the term.
    pub weekdays_from: BTreeMap<NaiveDate, WeekdaySet>,
    /// Days without service within the term.
    pub closed: BTreeSet<NaiveDate>,
}

/// Why there is no service on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoService {
    /// Before the first or after the last day of the term.
    OutsideTerm,
    /// Not one of the class's days of return.
    NoReturn,
    /// Holiday or closure.
    Closed,
}

impl ServiceCalendar {
    /// No day at all: a school whose term has not been entered.
    pub fn never() -> Self {
        Self {
            first: NaiveDate::MAX,
            last: NaiveDate::MIN,
            weekdays: WeekdaySet::EMPTY,
            weekdays_from: BTreeMap::new(),
            closed: BTreeSet::new(),
        }
    }

    /// The days of return that hold on `day`.
    pub fn weekdays_on(&self, day: NaiveDate) -> WeekdaySet {
        self.weekdays_from.range(..=day).next_back().map_or(self.weekdays, |(_, days)| *days)
    }

    /// Why there is no service on `day`; `None` when there is.
    pub fn no_service(&self, day: NaiveDate) -> Option<NoService> {
        if day < self.first || day > self.last {
            Some(NoService::OutsideTerm)
        } else if !self.weekdays_on(day).contains(day.weekday()) {
            Some(NoService::NoReturn)
        } else if self.closed.contains(&day) {
            Some(NoService::Closed)
        } else {
            None
        }
    }

    /// Is the meal served to this child on `day`?
    pub fn is_service_day(&self, day: NaiveDate) -> bool {
        self.no_service(day).is_none()
    }

    /// The served days from `start` on, in order; before the term they begin with its first day (R3).
    pub fn service_days_from(&self, start: NaiveDate) -> impl Iterator<Item = NaiveDate> + '_ {
        let last = self.last;
        start.max(self.first).iter_days().take_while(move |day| *day <= last).filter(|day| self.is_service_day(*day))
    }
}
