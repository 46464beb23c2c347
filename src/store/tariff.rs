//! What decides a price: tariffs, orders of school, ISEE, reliefs, residence, shares.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on, run};
use crate::{
    billing::{
        BasisPoints, Cents,
        family::{Isee, Relief, ReliefKind, Shares},
        tariff::{Rate, SchoolOrder, Scope, Tariff},
    },
    canteen::{ChildId, EnteId},
};

/// Who enters something, and when.
#[derive(Debug, Clone, Copy)]
pub struct Entered<'a> {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: &'a str,
}

/// A change of residence of a child: its row, first day, and whether the child is a resident from then on.
pub type ResidenceChange = (i64, NaiveDate, bool);

#[derive(sqlx::FromRow)]
struct RateRow {
    id: i64,
    tariff_id: i64,
    school_id: Option<i64>,
    school_order: Option<String>,
    residents: Option<bool>,
    isee_up_to: Option<i64>,
    meal_cents: i64,
    monthly_cents: i64,
}

#[derive(sqlx::FromRow)]
struct IseeRow {
    id: i64,
    guardian_id: i64,
    value_cents: i64,
    first_day: NaiveDate,
    last_day: NaiveDate,
    filed_on: NaiveDate,
}

#[derive(sqlx::FromRow)]
struct ReliefRow {
    id: i64,
    child_id: i64,
    kind: String,
    reduction_bp: Option<i64>,
    price_cents: Option<i64>,
    first_day: NaiveDate,
    last_day: Option<NaiveDate>,
    reason: String,
}

#[derive(sqlx::FromRow)]
struct ShareRow {
    id: i64,
    child_id: i64,
    first_day: NaiveDate,
    guardian_id: i64,
    share_bp: i64,
}

pub(super) fn basis_points(number: i64) -> Result<BasisPoints, StoreError> {
    number.try_into().map_err(|_| StoreError::Unknown { what: "share", value: number.to_string() })
}

fn order_from(word: String) -> Result<SchoolOrder, StoreError> {
    SchoolOrder::from_word(&word).ok_or(StoreError::Unknown { what: "order of school", value: word })
}

impl Tx {
    /// Every tariff of an ente.
    pub async fn tariffs(&mut self, ente: EnteId) -> Result<Vec<Tariff>, StoreError> {
        const TARIFFS: &str = "SELECT id, valid_from FROM tariff WHERE ente_id = $1 ORDER BY id";
        const RATES: &str =
            "SELECT r.id, r.tariff_id, r.school_id, r.school_order, r.residents, r.isee_up_to, r.meal_cents, r.monthly_cents
            FROM tariff_rate r JOIN tariff t ON t.id = r.tariff_id WHERE t.ente_id = $1 ORDER BY r.id";
        const SIBLINGS: &str = "SELECT s.tariff_id, s.rank, s.reduction_bp FROM tariff_sibling s JOIN tariff t ON t.id = s.tariff_id
            WHERE t.ente_id = $1 ORDER BY s.tariff_id, s.rank";
        let heads: Vec<(i64, NaiveDate)> = on!(&mut *self, |c| sqlx::query_as(TARIFFS).bind(ente.0).fetch_all(c))?;
        let rates: Vec<RateRow> = on!(&mut *self, |c| sqlx::query_as(RATES).bind(ente.0).fetch_all(c))?;
        let siblings: Vec<(i64, i64, i64)> = on!(self, |c| sqlx::query_as(SIBLINGS).bind(ente.0).fetch_all(c))?;
        let empty = |(id, valid_from)| (id, Tariff { id, valid_from, rates: vec![], siblings: vec![] });
        let mut tariffs: BTreeMap<i64, Tariff> = heads.into_iter().map(empty).collect();
        for r in rates {
            let scope = match (r.school_id, r.school_order) {
                (Some(school), _) => Scope::School(school),
                (None, Some(order)) => Scope::Order(order_from(order)?),
                (None, None) => Scope::All,
            };
            let rate = Rate {
                id: r.id,
                scope,
                residents: r.residents,
                isee_up_to: r.isee_up_to.map(Cents),
                meal: Cents(r.meal_cents),
                monthly: Cents(r.monthly_cents),
            };
            if let Some(tariff) = tariffs.get_mut(&r.tariff_id) {
                tariff.rates.push(rate);
            }
        }
        for (tariff, rank, reduction) in siblings {
            let rank = u8::try_from(rank).map_err(|_| StoreError::Unknown { what: "sibling", value: rank.to_string() })?;
            let reduction = basis_points(reduction)?;
            if let Some(tariff) = tariffs.get_mut(&tariff) {
                tariff.siblings.push((rank, reduction));
            }
        }
        Ok(tariffs.into_values().collect())
    }

    /// Enters a tariff, whose own row number and whose lines' are not looked at; gives its row.
    pub async fn add_tariff(&mut self, ente: EnteId, tariff: &Tariff, name: &str, entered: Entered<'_>) -> Result<i64, StoreError> {
        const TARIFF: &str =
            "INSERT INTO tariff (ente_id, valid_from, name, entered_at, entered_by) VALUES ($1, $2, $3, $4, $5) RETURNING id";
        const RATE: &str = "INSERT INTO tariff_rate (tariff_id, school_id, school_order, residents, isee_up_to, meal_cents, monthly_cents)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        const SIBLING: &str = "INSERT INTO tariff_sibling (tariff_id, rank, reduction_bp) VALUES ($1, $2, $3)";
        let id: i64 = on!(&mut *self, |c| sqlx::query_scalar(TARIFF)
            .bind(ente.0)
            .bind(tariff.valid_from)
            .bind(name)
            .bind(entered.at)
            .bind(entered.by)
            .fetch_one(c))?;
        for rate in &tariff.rates {
            let (school, order) = match rate.scope {
                Scope::All => (None, None),
                Scope::Order(order) => (None, Some(order.word())),
                Scope::School(school) => (Some(school), None),
            };
            let limit = rate.isee_up_to.map(|limit| limit.0);
            run!(
                self,
                sqlx::query(RATE).bind(id).bind(school).bind(order).bind(rate.residents).bind(limit).bind(rate.meal.0).bind(rate.monthly.0)
            );
        }
        for (rank, reduction) in &tariff.siblings {
            run!(self, sqlx::query(SIBLING).bind(id).bind(i64::from(*rank)).bind(i64::from(*reduction)));
        }
        Ok(id)
    }

    /// The order of each school that has one.
    pub async fn school_orders(&mut self, ente: EnteId) -> Result<HashMap<i64, SchoolOrder>, StoreError> {
        const SQL: &str = "SELECT id, school_order FROM school WHERE ente_id = $1 AND school_order IS NOT NULL";
        let rows: Vec<(i64, String)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        rows.into_iter().map(|(school, order)| Ok((school, order_from(order)?))).collect()
    }

    /// The ente's schools: row and short name.
    pub async fn school_codes(&mut self, ente: EnteId) -> Result<BTreeMap<String, i64>, StoreError> {
        const SQL: &str = "SELECT code, id FROM school WHERE ente_id = $1";
        let rows: Vec<(String, i64)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        Ok(rows.into_iter().collect())
    }

    /// Says of which order a school is; whether there is such a school.
    pub async fn put_school_order(&mut self, ente: EnteId, school: i64, order: Option<SchoolOrder>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE school SET school_order = $3 WHERE ente_id = $1 AND id = $2";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(school).bind(order.map(SchoolOrder::word))) > 0)
    }

    /// Every ISEE that stands, by guardian.
    pub async fn isee_of_ente(&mut self, ente: EnteId) -> Result<HashMap<i64, Vec<Isee>>, StoreError> {
        const SQL: &str = "SELECT i.id, i.guardian_id, i.value_cents, i.first_day, i.last_day, i.filed_on
            FROM isee i JOIN guardian g ON g.id = i.guardian_id WHERE g.ente_id = $1 AND i.withdrawn_at IS NULL";
        let rows: Vec<IseeRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        let mut all: HashMap<i64, Vec<Isee>> = HashMap::new();
        for r in rows {
            let isee = Isee { id: r.id, value: Cents(r.value_cents), first: r.first_day, last: r.last_day, filed_on: r.filed_on };
            all.entry(r.guardian_id).or_default().push(isee);
        }
        Ok(all)
    }

    /// Enters an ISEE; gives its row. `None` where the ente has no such guardian.
    pub async fn add_isee(&mut self, ente: EnteId, guardian: i64, isee: &Isee, entered: Entered<'_>) -> Result<Option<i64>, StoreError> {
        const SQL: &str = "INSERT INTO isee (guardian_id, value_cents, first_day, last_day, filed_on, entered_at, entered_by)
            SELECT id, $3, $4, $5, $6, $7, $8 FROM guardian WHERE ente_id = $1 AND id = $2 RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(guardian)
            .bind(isee.value.0)
            .bind(isee.first)
            .bind(isee.last)
            .bind(isee.filed_on)
            .bind(entered.at)
            .bind(entered.by)
            .fetch_optional(c))?)
    }

    /// Takes an ISEE back; whether it stood.
    pub async fn withdraw_isee(&mut self, ente: EnteId, id: i64, entered: Entered<'_>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE isee SET withdrawn_at = $3, withdrawn_by = $4
            WHERE id = $2 AND withdrawn_at IS NULL AND guardian_id IN (SELECT id FROM guardian WHERE ente_id = $1)";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(entered.at).bind(entered.by)) > 0)
    }

    /// Every relief that stands, with its child.
    pub async fn reliefs_of_ente(&mut self, ente: EnteId) -> Result<Vec<(i64, Relief)>, StoreError> {
        const SQL: &str = "SELECT r.id, r.child_id, r.kind, r.reduction_bp, r.price_cents, r.first_day, r.last_day, r.reason
            FROM relief r JOIN child k ON k.id = r.child_id WHERE k.ente_id = $1 AND r.withdrawn_at IS NULL ORDER BY r.id";
        let rows: Vec<ReliefRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        rows.into_iter()
            .map(|r| {
                let kind = match (r.kind.as_str(), r.reduction_bp, r.price_cents) {
                    ("exempt", ..) => ReliefKind::Exempt,
                    ("percentage", Some(by), _) => ReliefKind::Percentage(basis_points(by)?),
                    ("fixed_price", _, Some(price)) => ReliefKind::FixedPrice(Cents(price)),
                    _ => return Err(StoreError::Unknown { what: "relief", value: r.kind }),
                };
                Ok((r.child_id, Relief { id: r.id, kind, first: r.first_day, last: r.last_day, reason: r.reason }))
            })
            .collect()
    }

    /// Enters a relief; gives its row. `None` where the ente has no such child.
    pub async fn add_relief(
        &mut self,
        ente: EnteId,
        child: ChildId,
        relief: &Relief,
        entered: Entered<'_>,
    ) -> Result<Option<i64>, StoreError> {
        const SQL: &str =
            "INSERT INTO relief (child_id, kind, reduction_bp, price_cents, first_day, last_day, reason, entered_at, entered_by)
            SELECT id, $3, $4, $5, $6, $7, $8, $9, $10 FROM child WHERE ente_id = $1 AND id = $2 RETURNING id";
        let (kind, by, price) = match relief.kind {
            ReliefKind::Exempt => ("exempt", None, None),
            ReliefKind::Percentage(by) => ("percentage", Some(i64::from(by)), None),
            ReliefKind::FixedPrice(price) => ("fixed_price", None, Some(price.0)),
        };
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(child.0)
            .bind(kind)
            .bind(by)
            .bind(price)
            .bind(relief.first)
            .bind(relief.last)
            .bind(&relief.reason)
            .bind(entered.at)
            .bind(entered.by)
            .fetch_optional(c))?)
    }

    /// Takes a relief back; whether it stood.
    pub async fn withdraw_relief(&mut self, ente: EnteId, id: i64, entered: Entered<'_>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE relief SET withdrawn_at = $3, withdrawn_by = $4
            WHERE id = $2 AND withdrawn_at IS NULL AND child_id IN (SELECT id FROM child WHERE ente_id = $1)";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(entered.at).bind(entered.by)) > 0)
    }

    /// Every change of residence, by child.
    pub async fn residences_of_ente(&mut self, ente: EnteId) -> Result<Vec<(i64, ResidenceChange)>, StoreError> {
        const SQL: &str = "SELECT r.child_id, r.id, r.first_day, r.resident FROM residence r JOIN child k ON k.id = r.child_id
            WHERE k.ente_id = $1 ORDER BY r.id";
        let rows: Vec<(i64, i64, NaiveDate, bool)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        Ok(rows.into_iter().map(|(child, id, first, resident)| (child, (id, first, resident))).collect())
    }

    /// Enters whether a child lives in the comune from a day on; whether the ente has such a child.
    pub async fn add_residence(
        &mut self,
        ente: EnteId,
        child: ChildId,
        first: NaiveDate,
        resident: bool,
        entered: Entered<'_>,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO residence (child_id, first_day, resident, entered_at, entered_by)
            SELECT id, $3, $4, $5, $6 FROM child WHERE ente_id = $1 AND id = $2";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(child.0).bind(first).bind(resident).bind(entered.at).bind(entered.by)) > 0)
    }

    /// Every entry of shares, with its child.
    pub async fn shares_of_ente(&mut self, ente: EnteId) -> Result<Vec<(i64, Shares)>, StoreError> {
        const SQL: &str = "SELECT s.id, s.child_id, s.first_day, p.guardian_id, p.share_bp
            FROM payment_share s JOIN payment_share_part p ON p.payment_share_id = s.id JOIN child k ON k.id = s.child_id
            WHERE k.ente_id = $1 ORDER BY s.id, p.guardian_id";
        let rows: Vec<ShareRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        let mut all: BTreeMap<i64, (i64, Shares)> = BTreeMap::new();
        for r in rows {
            let part = (r.guardian_id, basis_points(r.share_bp)?);
            let entry = all.entry(r.id).or_insert_with(|| (r.child_id, Shares { id: r.id, first: r.first_day, shares: vec![] }));
            entry.1.shares.push(part);
        }
        Ok(all.into_values().collect())
    }

    /// Enters who pays for a child from a day on; `false` where the child or one of the adults is not the ente's.
    pub async fn add_shares(&mut self, ente: EnteId, child: ChildId, shares: &Shares, entered: Entered<'_>) -> Result<bool, StoreError> {
        const ENTRY: &str = "INSERT INTO payment_share (child_id, first_day, entered_at, entered_by)
            SELECT id, $3, $4, $5 FROM child WHERE ente_id = $1 AND id = $2 RETURNING id";
        const PART: &str = "INSERT INTO payment_share_part (payment_share_id, guardian_id, share_bp)
            SELECT $3, id, $4 FROM guardian WHERE ente_id = $1 AND id = $2";
        let id: Option<i64> = on!(&mut *self, |c| sqlx::query_scalar(ENTRY)
            .bind(ente.0)
            .bind(child.0)
            .bind(shares.first)
            .bind(entered.at)
            .bind(entered.by)
            .fetch_optional(c))?;
        let Some(id) = id else { return Ok(false) };
        for (guardian, share) in &shares.shares {
            if run!(self, sqlx::query(PART).bind(ente.0).bind(*guardian).bind(id).bind(i64::from(*share))) == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
