//! What stands for a child beside the automatic booking: cancellations, white meals, suspensions (R6).

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::{DayState, calendar::ServiceCalendar};

/// A run of suspended days, both ends included; open-ended where `last` is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspension {
    /// First suspended day.
    pub first: NaiveDate,
    /// Last suspended day, `None` while no end is known.
    pub last: Option<NaiveDate>,
}

impl Suspension {
    /// Is `day` within it?
    pub fn covers(&self, day: NaiveDate) -> bool {
        self.first <= day && self.last.is_none_or(|last| day <= last)
    }

    /// Does the next interval, starting at `first`, overlap or touch this one?
    fn reaches(self, first: NaiveDate) -> bool {
        self.last.is_none_or(|last| last.succ_opt().is_none_or(|after| first <= after))
    }
}

/// Suspensions of one child: sorted, none overlapping or touching another (design §3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suspensions(Vec<Suspension>);

impl Suspensions {
    /// Sorts and merges.
    pub fn new(mut intervals: Vec<Suspension>) -> Self {
        intervals.sort_by_key(|s| s.first);
        let mut merged: Vec<Suspension> = Vec::with_capacity(intervals.len());
        for next in intervals {
            match merged.last_mut() {
                Some(current) if current.reaches(next.first) => {
                    // `None` (open) is the later end of the two.
                    current.last = current.last.zip(next.last).map(|(a, b)| a.max(b));
                }
                _ => merged.push(next),
            }
        }
        Self(merged)
    }

    /// The intervals, in order.
    pub fn intervals(&self) -> &[Suspension] {
        &self.0
    }

    /// The suspension that covers `day`.
    pub fn covering(&self, day: NaiveDate) -> Option<&Suspension> {
        self.0.iter().find(|s| s.covers(day))
    }

    /// The union with one more interval.
    #[must_use]
    pub fn union(&self, more: Suspension) -> Self {
        let mut intervals = self.0.clone();
        intervals.push(more);
        Self::new(intervals)
    }

    /// Ends the suspension that covers `day` on the day before it; gone where it began on `day`.
    #[must_use]
    pub fn resumed(&self, day: NaiveDate) -> Self {
        let cut = |s: &Suspension| {
            if !s.covers(day) {
                return Some(*s);
            }
            let last = day.pred_opt().filter(|last| s.first <= *last)?;
            Some(Suspension { first: s.first, last: Some(last) })
        };
        Self(self.0.iter().filter_map(cut).collect())
    }
}

/// All that stands for one child. Marks under a suspension are kept: they count again after a resume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Days whose meal is cancelled.
    pub cancelled: BTreeSet<NaiveDate>,
    /// Days with a white meal.
    pub white: BTreeSet<NaiveDate>,
    /// Suspensions.
    pub suspensions: Suspensions,
}

impl Marks {
    /// What stands on `day` under `calendar` (R6).
    pub fn state_on(&self, day: NaiveDate, calendar: &ServiceCalendar) -> DayState {
        if !calendar.is_service_day(day) {
            DayState::NoService
        } else if self.suspensions.covering(day).is_some() {
            DayState::Suspended
        } else if self.cancelled.contains(&day) {
            DayState::Cancelled
        } else if self.white.contains(&day) {
            DayState::White
        } else {
            DayState::Served
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(n: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 9, 1).unwrap() + chrono::Days::new(n)
    }

    fn interval() -> impl Strategy<Value = Suspension> {
        (0u64..60, prop::option::of(0u64..20)).prop_map(|(first, len)| Suspension { first: day(first), last: len.map(|l| day(first + l)) })
    }

    proptest! {
        /// The normal form covers exactly the days that the intervals cover, and no two of them touch.
        #[test]
        fn merging_keeps_the_days(intervals in prop::collection::vec(interval(), 0..8)) {
            let merged = Suspensions::new(intervals.clone());
            for n in 0..100 {
                let d = day(n);
                prop_assert_eq!(merged.covering(d).is_some(), intervals.iter().any(|s| s.covers(d)));
            }
            for pair in merged.intervals().windows(2) {
                prop_assert!(pair[0].last.is_some_and(|last| last.succ_opt().unwrap() < pair[1].first));
            }
            prop_assert_eq!(&Suspensions::new(merged.intervals().to_vec()), &merged);
        }

        /// A resume frees the day and all that followed in its run, and nothing before or elsewhere.
        #[test]
        fn resuming_frees_the_rest_of_the_run(intervals in prop::collection::vec(interval(), 0..8), n in 0u64..90) {
            let before = Suspensions::new(intervals);
            let after = before.resumed(day(n));
            let run = before.covering(day(n)).copied();
            for m in 0..100 {
                let d = day(m);
                let freed = run.is_some_and(|r| r.covers(d) && d >= day(n));
                prop_assert_eq!(after.covering(d).is_some(), before.covering(d).is_some() && !freed);
            }
        }
    }
}
