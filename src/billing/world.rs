//! What a run knows of an ente's children: meals as they stand, who pays, and what has been billed. Filled by the desk from the
//! database, in whichever order.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    BasisPoints, Cents, DaySet, Month,
    family::{Isee, Relief, Shares},
    price::{Basis, Item, PriceBook},
    tariff::SchoolOrder,
};

/// Why something is billed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The office corrected the meal.
    Correction,
    /// The day was closed after its cut-off (R8).
    Closure,
    /// Another tariff holds for the day.
    Tariff,
    /// Another band: an ISEE came, or went.
    Isee,
    /// Residence, school or order of school changed.
    Place,
    /// Another rank among the siblings.
    Siblings,
    /// A relief was given, changed or taken back.
    Relief,
    /// Somebody else pays, or another share.
    Share,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Correction, Self::Closure, Self::Tariff, Self::Isee, Self::Place, Self::Siblings, Self::Relief, Self::Share];

    /// Its word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Correction => "correction",
            Self::Closure => "closure",
            Self::Tariff => "tariff",
            Self::Isee => "isee",
            Self::Place => "place",
            Self::Siblings => "siblings",
            Self::Relief => "relief",
            Self::Share => "share",
        }
    }

    /// In plain Italian.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Correction => "correzione dell'ufficio",
            Self::Closure => "giorno di chiusura",
            Self::Tariff => "nuova tariffa",
            Self::Isee => "fascia ISEE aggiornata",
            Self::Place => "residenza o scuola aggiornata",
            Self::Siblings => "riduzione per fratelli aggiornata",
            Self::Relief => "agevolazione aggiornata",
            Self::Share => "quota di pagamento aggiornata",
        }
    }
}

/// A line that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedLine {
    /// Row; later lines have higher ones.
    pub id: i64,
    /// Guardian who was billed.
    pub payer: i64,
    /// The month that its days are of.
    pub month: Month,
    /// The days.
    pub days: DaySet,
    /// Meal or flat share.
    pub item: Item,
    /// Price of each day; of a later line the difference.
    pub unit: Cents,
    /// What the price followed from; `None` where nothing was due any more.
    pub basis: Option<Basis>,
    /// Of which the payer's share is this.
    pub share: BasisPoints,
}

/// The meals of a child in a month at a school.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthMeals {
    /// Month.
    pub month: Month,
    /// School's row.
    pub school: i64,
    /// Days on which a meal is due: served or white.
    pub meals: DaySet,
    /// Days on which the child was counted, whatever stood: cancelled and suspended too.
    pub counted: DaySet,
}

/// What changed a day after its cut-off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which kind of change.
    pub reason: Reason,
    /// In the office's words.
    pub note: String,
}

/// A child.
#[derive(Debug, Clone)]
pub struct Child {
    /// Row.
    pub id: i64,
    /// Day of birth, where the fiscal code tells it.
    pub born: Option<NaiveDate>,
    /// First day from which the child belongs to the family's count of siblings.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day.
    pub enrolled_last: Option<NaiveDate>,
    /// Nobody knows any more who it was: what was billed stays as it is.
    pub forgotten: bool,
    /// Who pays where nobody has entered shares.
    pub payer: Option<i64>,
    /// Shares, as the office entered them.
    pub shares: Vec<Shares>,
    /// First day, row, and whether it lives in the comune from then on; it does where nothing is entered.
    pub residence: Vec<(NaiveDate, i64, bool)>,
    /// Reliefs.
    pub reliefs: Vec<Relief>,
    /// Meals as they stand.
    pub meals: Vec<MonthMeals>,
    /// Days that changed after their cut-off.
    pub changes: BTreeMap<NaiveDate, Change>,
    /// What was issued.
    pub lines: Vec<IssuedLine>,
}

impl Child {
    /// A child of whom nothing is known yet.
    pub fn new(id: i64) -> Self {
        Self {
            id,
            born: None,
            enrolled_first: None,
            enrolled_last: None,
            forgotten: false,
            payer: None,
            shares: vec![],
            residence: vec![],
            reliefs: vec![],
            meals: vec![],
            changes: BTreeMap::new(),
            lines: vec![],
        }
    }

    /// Adds a day on which the child was counted; `due`: a meal is to be paid.
    pub fn count(&mut self, day: NaiveDate, school: i64, due: bool) {
        let month = Month::of(day);
        let found = self.meals.iter_mut().rev().find(|m| m.month == month && m.school == school);
        let of_month = if let Some(found) = found {
            found
        } else {
            self.meals.push(MonthMeals { month, school, meals: DaySet::default(), counted: DaySet::default() });
            let Some(last) = self.meals.last_mut() else { return };
            last
        };
        of_month.counted.insert(day);
        if due {
            of_month.meals.insert(day);
        }
    }

    /// Is the child one of the family's on that day?
    pub fn is_enrolled(&self, day: NaiveDate) -> bool {
        self.enrolled_first.is_none_or(|first| first <= day) && self.enrolled_last.is_none_or(|last| day <= last)
    }
}

/// A correction of a meal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    /// When.
    pub at: DateTime<Utc>,
    /// Is a meal due since?
    pub due: bool,
    /// Is the child counted at all since?
    pub counted: bool,
    /// Did it come of a closure?
    pub closure: bool,
    /// In the office's words.
    pub note: String,
}

/// A closure that stands, as it concerns one class's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When it was entered.
    pub at: DateTime<Utc>,
    /// Why.
    pub note: String,
}

/// What stands of a day that was counted: `due` and counted by its record, then whatever came last, a correction or a closure entered after
/// the cut-off (R8).
pub fn standing(due: bool, correction: Option<&Corrected>, closure: Option<&Closed>) -> (bool, bool, Option<Change>) {
    let corrected = |c: &Corrected| {
        let reason = if c.closure { Reason::Closure } else { Reason::Correction };
        (c.due, c.counted, Some(Change { reason, note: c.note.clone() }))
    };
    match (correction, closure) {
        (None, None) => (due, true, None),
        // The calendar corrects the meals of a day in the moment in which it closes it; then the correction is what says so.
        (Some(c), closure) if closure.is_none_or(|closed| closed.at <= c.at) => corrected(c),
        (_, Some(closed)) => (false, false, Some(Change { reason: Reason::Closure, note: closed.note.clone() })),
        (Some(c), None) => corrected(c),
    }
}

/// Everything that a run looks at.
#[derive(Debug, Default)]
pub struct World {
    /// Tariffs and reliefs.
    pub prices: PriceBook,
    /// Orders of school, by school.
    pub orders: HashMap<i64, SchoolOrder>,
    /// ISEE by guardian.
    pub isee: HashMap<i64, Vec<Isee>>,
    /// Children, in whichever order.
    pub children: Vec<Child>,
}
