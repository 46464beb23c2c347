//! What a run reads: children, payers, meals as they were counted, closures, and what was issued.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on, tariff::basis_points};
use crate::{
    billing::{
        Cents, DaySet, Month,
        price::{Basis, Item},
        world::IssuedLine,
    },
    canteen::EnteId,
};

/// A child, as billing sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BilledChild {
    /// Row.
    pub id: i64,
    /// Fiscal code, as it stands.
    pub fiscal_code: Option<String>,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
    /// When it was entered.
    pub created_at: DateTime<Utc>,
    /// Since when nobody knows any more who it was.
    pub forgotten_at: Option<DateTime<Utc>>,
}

/// An adult, as billing sees them.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BilledAdult {
    /// Row.
    pub id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Fiscal code, as it stands.
    pub fiscal_code: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Postal address.
    pub address: Option<String>,
}

/// The children of a class who were counted on a day.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CountedClass {
    /// School's row.
    pub school_id: i64,
    /// Class's row.
    pub class_id: i64,
    /// Served or white: a meal is due by the record.
    pub due: bool,
    /// Children's rows, joined by commas: some hundred thousand rows a day would be slower.
    pub children: String,
}

/// A closure that stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StandingClosure {
    /// One school.
    pub school_id: Option<i64>,
    /// One class.
    pub class_id: Option<i64>,
    /// First day.
    pub first_day: NaiveDate,
    /// Last day.
    pub last_day: NaiveDate,
    /// Why.
    pub reason: String,
    /// When it was entered.
    pub entered_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    id: i64,
    guardian_id: i64,
    child_id: i64,
    month: NaiveDate,
    days: i64,
    item: String,
    unit_cents: i64,
    share_bp: i64,
    rate_id: Option<i64>,
    sibling: Option<i64>,
    relief_id: Option<i64>,
}

pub(super) fn item_from(word: &str) -> Result<Item, StoreError> {
    let found = [Item::Meal, Item::Flat].into_iter().find(|item| item.word() == word);
    found.ok_or_else(|| StoreError::Unknown { what: "item", value: word.to_owned() })
}

pub(super) fn days_from(bits: i64) -> Result<DaySet, StoreError> {
    DaySet::from_bits(bits).ok_or_else(|| StoreError::Unknown { what: "days", value: bits.to_string() })
}

impl Tx {
    /// Every child of an ente.
    pub async fn billed_children(&mut self, ente: EnteId) -> Result<Vec<BilledChild>, StoreError> {
        const SQL: &str =
            "SELECT id, fiscal_code, enrolled_first, enrolled_last, created_at, forgotten_at FROM child WHERE ente_id = $1 ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Every adult of an ente.
    pub async fn billed_adults(&mut self, ente: EnteId) -> Result<Vec<BilledAdult>, StoreError> {
        const SQL: &str = "SELECT id, last_name, first_name, fiscal_code, email, address FROM guardian WHERE ente_id = $1 ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Whom the roster names as payer of each child: the first one, where it names several.
    pub async fn roster_payers(&mut self, ente: EnteId) -> Result<HashMap<i64, i64>, StoreError> {
        const SQL: &str = "SELECT l.child_id, l.guardian_id FROM child_guardian l JOIN child k ON k.id = l.child_id
            WHERE k.ente_id = $1 AND l.payer ORDER BY l.child_id, l.position DESC, l.guardian_id DESC";
        let rows: Vec<(i64, i64)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        Ok(rows.into_iter().collect())
    }

    /// The last notice of each adult.
    pub async fn last_notices(&mut self, ente: EnteId) -> Result<HashMap<i64, Cents>, StoreError> {
        const SQL: &str = "SELECT guardian_id, total_cents FROM notice
            WHERE id IN (SELECT MAX(id) FROM notice WHERE ente_id = $1 GROUP BY guardian_id)";
        let rows: Vec<(i64, i64)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        Ok(rows.into_iter().map(|(who, cents)| (who, Cents(cents))).collect())
    }

    /// The days from `first` to `last` on which a school of the ente was closed at its cut-off, i.e. counted.
    pub async fn counted_days(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<NaiveDate>, StoreError> {
        const SQL: &str = "SELECT DISTINCT d.day FROM closed_day d JOIN school s ON s.id = d.school_id
            WHERE s.ente_id = $1 AND d.day BETWEEN $2 AND $3 ORDER BY d.day";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?)
    }

    /// Who was counted on a day.
    pub async fn counted_on(&mut self, ente: EnteId, day: NaiveDate) -> Result<Vec<CountedClass>, StoreError> {
        const SQL: &str =
            "SELECT m.school_id, m.class_id, m.state IN ('served', 'white') AS due, string_agg(CAST(m.child_id AS TEXT), ',') AS children
            FROM school s JOIN meal m ON m.day = $2 AND m.school_id = s.id WHERE s.ente_id = $1
            GROUP BY m.school_id, m.class_id, m.state IN ('served', 'white')";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(day).fetch_all(c))?)
    }

    /// The closures that stand and end on `first` or later.
    pub async fn standing_closures(&mut self, ente: EnteId, first: NaiveDate) -> Result<Vec<StandingClosure>, StoreError> {
        const SQL: &str = "SELECT school_id, class_id, first_day, last_day, reason, entered_at FROM closure
            WHERE ente_id = $1 AND last_day >= $2 AND withdrawn_at IS NULL ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).fetch_all(c))?)
    }

    /// Every issued line of the months from `first` on, with its child.
    pub async fn issued_lines(&mut self, ente: EnteId, first: Month) -> Result<Vec<(i64, IssuedLine)>, StoreError> {
        const SQL: &str = "SELECT l.id, n.guardian_id, l.child_id, l.month, l.days, l.item, l.unit_cents, l.share_bp,
                b.rate_id, b.sibling, b.relief_id
            FROM notice n JOIN notice_line l ON l.notice_id = n.id LEFT JOIN price_basis b ON b.id = l.basis_id
            WHERE n.ente_id = $1 AND l.month >= $2";
        let rows: Vec<LineRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first.first()).fetch_all(c))?;
        rows.into_iter()
            .map(|r| {
                let item = item_from(&r.item)?;
                let basis = match (r.rate_id, r.sibling) {
                    (Some(rate), Some(sibling)) => {
                        Some(Basis { item, rate, sibling: u8::try_from(sibling).unwrap_or(u8::MAX), relief: r.relief_id })
                    }
                    _ => None,
                };
                let line = IssuedLine {
                    id: r.id,
                    payer: r.guardian_id,
                    month: Month::of(r.month),
                    days: days_from(r.days)?,
                    item,
                    unit: Cents(r.unit_cents),
                    basis,
                    share: basis_points(r.share_bp)?,
                };
                Ok((r.child_id, line))
            })
            .collect()
    }
}
