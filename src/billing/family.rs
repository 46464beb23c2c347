//! What of a family decides a price: ISEE, reliefs, who pays which share, residence.

use chrono::NaiveDate;

use super::{BasisPoints, Cents};

/// A family's ISEE, of the guardian who handed it in. The days that it holds for are what the office says: a late one that is to count
/// from September simply begins then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isee {
    /// Row.
    pub id: i64,
    /// The value.
    pub value: Cents,
    /// First day that it holds for.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
    /// When it was handed in: of two for the same day the later one counts.
    pub filed_on: NaiveDate,
}

/// What a child is spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReliefKind {
    /// Pays nothing, neither meals nor flat share.
    Exempt,
    /// So much less of everything.
    Percentage(BasisPoints),
    /// A meal costs this, whatever the tariff says; the flat share stays.
    FixedPrice(Cents),
}

/// A relief of a child, for some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relief {
    /// Row.
    pub id: i64,
    /// What.
    pub kind: ReliefKind,
    /// First day.
    pub first: NaiveDate,
    /// Last day; `None`: until further notice.
    pub last: Option<NaiveDate>,
    /// Why, in the office's words.
    pub reason: String,
}

impl Relief {
    /// Does it hold on that day?
    pub fn holds(&self, day: NaiveDate) -> bool {
        self.first <= day && self.last.is_none_or(|last| day <= last)
    }
}

/// Who pays how much of a child's meals from a day on, until the next such entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Row of the entry: of two for the same day the later one counts.
    pub id: i64,
    /// First day.
    pub first: NaiveDate,
    /// Guardian and share; together the whole.
    pub shares: Vec<(i64, BasisPoints)>,
}

/// What is wrong with shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharesError {
    /// They do not add up to the whole.
    #[error("le quote devono fare insieme il 100 %")]
    NotWhole,
    /// Nobody, too many, the same adult twice, or a share of nothing.
    #[error("indichi da uno a quattro adulti diversi, ciascuno con una quota")]
    Who,
}

impl Shares {
    /// Can they be used?
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(shares: &[(i64, BasisPoints)]) -> Result<(), SharesError> {
        let twice = |(n, (who, _)): (usize, &(i64, BasisPoints))| shares.iter().take(n).any(|(other, _)| other == who);
        if !(1..=4).contains(&shares.len()) || shares.iter().any(|(_, s)| s.get() == 0) || shares.iter().enumerate().any(twice) {
            return Err(SharesError::Who);
        }
        let sum: u32 = shares.iter().map(|(_, share)| u32::from(share.get())).sum();
        if sum == u32::from(BasisPoints::WHOLE.get()) { Ok(()) } else { Err(SharesError::NotWhole) }
    }
}

/// The ISEE of a day among a family's: the one that was handed in last.
pub fn isee_on(all: &[Isee], day: NaiveDate) -> Option<&Isee> {
    all.iter().filter(|isee| isee.first <= day && day <= isee.last).max_by_key(|isee| (isee.filed_on, isee.id))
}

/// The entry of a day: the latest that has begun.
pub fn shares_on(all: &[Shares], day: NaiveDate) -> Option<&Shares> {
    all.iter().filter(|entry| entry.first <= day).max_by_key(|entry| (entry.first, entry.id))
}

/// What stands on a day in a list of changes (first day, entry's row, what holds from then on).
pub fn standing_on(changes: &[(NaiveDate, i64, bool)], day: NaiveDate) -> Option<bool> {
    changes.iter().filter(|(first, ..)| *first <= day).max_by_key(|(first, id, _)| (*first, *id)).map(|(_, _, holds)| *holds)
}
