//! What stands, as an import compares it.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;

use crate::{
    canteen::{
        EnteId,
        fiscal_code::FiscalCode,
        roster::{ChildRow, GuardianRow, Roster, fold},
    },
    store::{AdultState, ChildState, ClassKey, KnownClosure, KnownTerm, SchoolKey, SchoolYearRow, StoreError, Tx},
};

/// A picture of everything that an import may touch.
pub(super) struct Picture {
    pub(super) schools: Vec<SchoolKey>,
    /// The school year that the import is about, where it is there.
    pub(super) year: Option<SchoolYearRow>,
    pub(super) classes: Vec<ClassKey>,
    pub(super) terms: Vec<KnownTerm>,
    pub(super) closures: Vec<KnownClosure>,
    pub(super) children: BTreeMap<i64, ChildState>,
    pub(super) adults: BTreeMap<i64, AdultState>,
    /// Codes that were replaced, each with the child that had it.
    pub(super) retired: Vec<(String, i64)>,
}

impl Picture {
    pub(super) async fn take(tx: &mut Tx, ente: EnteId, roster: &Roster) -> Result<Self, StoreError> {
        let year = match &roster.calendar.school_year {
            Some(name) => tx.school_year_named(ente, name).await?,
            None => tx.latest_school_year(ente).await?,
        };
        let (classes, terms) = match &year {
            Some(year) => (tx.classes(year.id).await?, tx.known_terms(year.id).await?),
            None => (vec![], vec![]),
        };
        let from = roster.calendar.closures.iter().map(|c| c.first).min().unwrap_or(NaiveDate::MAX.min(far()));
        Ok(Self {
            schools: tx.schools(ente).await?,
            year,
            classes,
            terms,
            closures: tx.known_closures(ente, from).await?,
            children: tx.child_states(ente).await?,
            adults: tx.adult_states(ente).await?,
            retired: tx.retired_codes(ente).await?,
        })
    }
}

/// A day that both databases can hold and no closure reaches.
fn far() -> NaiveDate {
    NaiveDate::from_ymd_opt(9999, 1, 1).unwrap_or_default()
}

/// The children that are there, found by each of their keys; each is found once.
pub(super) struct KnownChildren<'a> {
    rows: &'a BTreeMap<i64, ChildState>,
    by_ref: HashMap<&'a str, i64>,
    by_fiscal_code: HashMap<&'a str, i64>,
    by_name: HashMap<(String, String, i64), i64>,
    taken: std::collections::HashSet<i64>,
}

impl<'a> KnownChildren<'a> {
    pub(super) fn new(rows: &'a BTreeMap<i64, ChildState>) -> Self {
        Self {
            rows,
            by_ref: rows.iter().filter_map(|(id, r)| Some((r.external_ref.as_deref()?, *id))).collect(),
            by_fiscal_code: rows.iter().filter_map(|(id, r)| Some((r.fiscal_code.as_deref()?, *id))).collect(),
            by_name: rows.iter().map(|(id, r)| ((fold(&r.last_name), fold(&r.first_name), r.class), *id)).collect(),
            taken: std::collections::HashSet::new(),
        }
    }

    /// The row of this child. By names only where neither side has a fiscal code or number that says otherwise.
    pub(super) fn find(&mut self, child: &ChildRow, class: Option<i64>) -> Option<i64> {
        let fiscal_code = child.fiscal_code.as_ref().map(FiscalCode::as_str);
        let by_ref = child.external_id.as_deref().and_then(|r| self.by_ref.get(r));
        let by_fiscal = || fiscal_code.and_then(|f| self.by_fiscal_code.get(f));
        let by_name = || {
            let found = self.by_name.get(&(fold(&child.last_name), fold(&child.first_name), class?))?;
            let row = self.rows.get(found)?;
            let differ = |a: Option<&str>, b: Option<&str>| a.zip(b).is_some_and(|(a, b)| a != b);
            let other =
                differ(row.fiscal_code.as_deref(), fiscal_code) || differ(row.external_ref.as_deref(), child.external_id.as_deref());
            (!other).then_some(found)
        };
        let found = *by_ref.or_else(by_fiscal).or_else(by_name)?;
        // Two lines that look like the same child are two children: the first takes the row.
        self.taken.insert(found).then_some(found)
    }

    /// Was this child found?
    pub(super) fn was_found(&self, id: i64) -> bool {
        self.taken.contains(&id)
    }
}

/// Folded surname and name, e-mail address, telephone number.
type Contact<'a> = (String, String, Option<&'a str>, Option<&'a str>);

/// The adults that are there.
pub(super) struct KnownAdults<'a> {
    rows: &'a BTreeMap<i64, AdultState>,
    by_fiscal_code: HashMap<&'a str, i64>,
    by_contact: HashMap<Contact<'a>, i64>,
}

impl<'a> KnownAdults<'a> {
    pub(super) fn new(rows: &'a BTreeMap<i64, AdultState>) -> Self {
        let contact = |r: &'a AdultState| (fold(&r.last_name), fold(&r.first_name), r.email.as_deref(), r.phone.as_deref());
        Self {
            rows,
            by_fiscal_code: rows.iter().filter_map(|(id, r)| Some((r.fiscal_code.as_deref()?, *id))).collect(),
            by_contact: rows.iter().map(|(id, r)| (contact(r), *id)).collect(),
        }
    }

    /// The row of this adult: by fiscal code, else as the guardian of that name whom the child has, else by names and contacts together.
    pub(super) fn find(&self, adult: &GuardianRow, child: Option<&ChildState>) -> Option<i64> {
        let fiscal_code = adult.fiscal_code.as_ref().map(FiscalCode::as_str);
        if let Some(found) = fiscal_code.and_then(|f| self.by_fiscal_code.get(f)) {
            return Some(*found);
        }
        let name = (fold(&adult.last_name), fold(&adult.first_name));
        let same = |id: &i64| {
            self.rows.get(id).is_some_and(|row| {
                (fold(&row.last_name), fold(&row.first_name)) == name && (row.fiscal_code.is_none() || fiscal_code.is_none())
            })
        };
        let of_child = child.and_then(|child| child.guardians.iter().map(|(id, _)| *id).find(same));
        let by_contact =
            || self.by_contact.get(&(name.0.clone(), name.1.clone(), adult.email.as_deref(), adult.phone.as_deref())).copied().filter(same);
        of_child.or_else(by_contact)
    }
}
