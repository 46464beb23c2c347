//! The picture that a run reckons with.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use super::BillError;
use crate::{
    billing::{
        Month,
        outcome::Payer,
        price::PriceBook,
        tariff::Tariffs,
        world::{Child, Closed, Corrected, World, standing},
    },
    canteen::{DayState, EnteId, fiscal_code::FiscalCode, window::Window},
    store::{BilledAdult, Correction, StandingClosure, StoreError, Tx},
};

/// Everything that a run knows.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// What is reckoned.
    pub(super) world: World,
    /// Who pays.
    pub(super) people: Vec<BilledAdult>,
    /// What decides whether and how they get a notice.
    pub(super) payers: HashMap<i64, Payer>,
}

/// Reads all of an ente's days from `first` to `last` in one picture.
pub(super) async fn picture(tx: &mut Tx, ente: EnteId, window: &Window, first: NaiveDate, last: NaiveDate) -> Result<Picture, BillError> {
    let mut children = children(tx, ente, window, last).await?;
    let place: HashMap<i64, usize> = children.iter().enumerate().map(|(n, child)| (child.id, n)).collect();
    let reliefs = tx.reliefs_of_ente(ente).await?;
    for (child, relief) in &reliefs {
        if let Some(child) = place.get(child).and_then(|n| children.get_mut(*n)) {
            child.reliefs.push(relief.clone());
        }
    }
    for (child, (id, first, resident)) in tx.residences_of_ente(ente).await? {
        if let Some(child) = place.get(&child).and_then(|n| children.get_mut(*n)) {
            child.residence.push((first, id, resident));
        }
    }
    for (child, shares) in tx.shares_of_ente(ente).await? {
        if let Some(child) = place.get(&child).and_then(|n| children.get_mut(*n)) {
            child.shares.push(shares);
        }
    }
    for (child, line) in tx.issued_lines(ente, Month::of(first)).await? {
        if let Some(child) = place.get(&child).and_then(|n| children.get_mut(*n)) {
            child.lines.push(line);
        }
    }
    meals(tx, ente, (first, last), &mut children, &place).await?;
    let (people, payers) = payers(tx, ente).await?;
    let world = World {
        prices: PriceBook::new(Tariffs::new(tx.tariffs(ente).await?), reliefs.into_iter().map(|(_, relief)| relief)),
        orders: tx.school_orders(ente).await?,
        isee: tx.isee_of_ente(ente).await?,
        children,
    };
    Ok(Picture { world, people, payers })
}

async fn children(tx: &mut Tx, ente: EnteId, window: &Window, last: NaiveDate) -> Result<Vec<Child>, StoreError> {
    let payers = tx.roster_payers(ente).await?;
    let rows = tx.billed_children(ente).await?;
    let child = |row: crate::store::BilledChild| Child {
        born: row.fiscal_code.as_deref().and_then(|code| code.parse::<FiscalCode>().ok()).and_then(|code| code.born(last)),
        // Who came in the middle of the year is no brother or sister of the months before.
        enrolled_first: row.enrolled_first.or_else(|| Some(window.local(row.created_at).date())),
        enrolled_last: row.enrolled_last,
        forgotten: row.forgotten_at.is_some(),
        payer: payers.get(&row.id).copied(),
        ..Child::new(row.id)
    };
    Ok(rows.into_iter().map(child).collect())
}

async fn payers(tx: &mut Tx, ente: EnteId) -> Result<(Vec<BilledAdult>, HashMap<i64, Payer>), StoreError> {
    let people = tx.billed_adults(ente).await?;
    let last = tx.last_notices(ente).await?;
    let payer = |adult: &BilledAdult| {
        let payer = Payer {
            fiscal_code: adult.fiscal_code.clone().filter(|code| !code.trim().is_empty()),
            has_email: adult.email.as_deref().is_some_and(|email| !email.trim().is_empty()),
            last_notice: last.get(&adult.id).copied(),
        };
        (adult.id, payer)
    };
    let payers = people.iter().map(payer).collect();
    Ok((people, payers))
}

fn corrected(c: Correction) -> Corrected {
    Corrected {
        at: c.at,
        due: matches!(c.becomes, DayState::Served | DayState::White),
        counted: c.becomes != DayState::NoService,
        closure: c.closure_id.is_some(),
        note: c.reason,
    }
}

/// Meals as they stand: the record of the cut-off, and what came after it.
async fn meals(
    tx: &mut Tx,
    ente: EnteId,
    (first, last): (NaiveDate, NaiveDate),
    children: &mut [Child],
    place: &HashMap<i64, usize>,
) -> Result<(), StoreError> {
    // The last correction of each child's day; what is left over at the end is of days on which the child was not counted.
    let mut corrections: BTreeMap<(NaiveDate, i64), (i64, Corrected)> = BTreeMap::new();
    for (school, correction) in tx.correction_rows(ente, first, last).await? {
        corrections.insert((correction.day, correction.child_id), (school, corrected(correction)));
    }
    let closures = tx.standing_closures(ente, first).await?;
    for day in tx.counted_days(ente, first, last).await? {
        for class in tx.counted_on(ente, day).await? {
            let closed = closed(&closures, day, class.school_id, class.class_id);
            for id in class.children.split(',').filter_map(|id| id.parse::<i64>().ok()) {
                let Some(child) = place.get(&id).and_then(|n| children.get_mut(*n)) else { continue };
                let correction = corrections.remove(&(day, id));
                let (due, counted, change) = standing(class.due, correction.as_ref().map(|(_, c)| c), closed.as_ref());
                if counted {
                    child.count(day, class.school_id, due);
                }
                child.changes.extend(change.map(|change| (day, change)));
            }
        }
    }
    for ((day, id), (school, correction)) in corrections {
        let Some(child) = place.get(&id).and_then(|n| children.get_mut(*n)) else { continue };
        let (due, counted, change) = standing(false, Some(&correction), None);
        if counted {
            child.count(day, school, due);
        }
        child.changes.extend(change.map(|change| (day, change)));
    }
    Ok(())
}

/// The closure of a class's day that was entered last.
fn closed(closures: &[StandingClosure], day: NaiveDate, school: i64, class: i64) -> Option<Closed> {
    let covers = |c: &&StandingClosure| {
        (c.first_day..=c.last_day).contains(&day) && c.school_id.is_none_or(|of| of == school) && c.class_id.is_none_or(|of| of == class)
    };
    let last: Option<(DateTime<Utc>, &str)> =
        closures.iter().filter(covers).map(|c| (c.entered_at, c.reason.as_str())).max_by_key(|(at, _)| *at);
    last.map(|(at, note)| Closed { at, note: note.to_owned() })
}
