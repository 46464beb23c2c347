//! Runs and what they issue.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};

use super::{LOCK_BILLING, StoreError, Tx, on, run};
use crate::{
    billing::{
        Cents, Month, NoticeNumber,
        account::NewLine,
        price::{Basis, Price},
    },
    canteen::EnteId,
};

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RunRow {
    /// Row.
    pub id: i64,
    /// First day of the month it is for.
    pub month: NaiveDate,
    /// Days before this one are not billed here.
    pub first_day: NaiveDate,
    /// Less than this waits.
    pub threshold_cents: i64,
    /// The date on its notices.
    pub issued_on: NaiveDate,
    /// Until when they are to be paid.
    pub due_day: NaiveDate,
    /// Who began it.
    pub actor: String,
    /// When.
    pub started_at: DateTime<Utc>,
    /// The process at work on it.
    pub holder: String,
    /// Until when that process is to be heard of again.
    pub held_until: DateTime<Utc>,
    /// When it was done.
    pub ended_at: Option<DateTime<Utc>>,
}

macro_rules! run_columns {
    () => {
        "id, month, first_day, threshold_cents, issued_on, due_day, actor, started_at, holder, held_until, ended_at"
    };
}

/// A notice to be written.
#[derive(Debug, Clone)]
pub struct NewNotice<'a> {
    /// Whose.
    pub ente: EnteId,
    /// By which run.
    pub run: i64,
    /// To whom.
    pub guardian: i64,
    /// Its year and number in it.
    pub number: (i32, i64),
    /// Creditor's fiscal code.
    pub creditor: &'a str,
    /// Notice number.
    pub notice_number: NoticeNumber,
    /// What for.
    pub subject: &'a str,
    /// How much.
    pub total: Cents,
    /// Date.
    pub issued_on: NaiveDate,
    /// Until when it is to be paid.
    pub due_day: NaiveDate,
    /// Debtor's name, fiscal code and address.
    pub debtor: (&'a str, &'a str, Option<&'a str>),
}

/// A payer's account at a run.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OutcomeRow {
    /// Run.
    pub run_id: i64,
    /// Payer.
    pub guardian_id: i64,
    /// All that was due.
    pub due_cents: i64,
    /// All that had been billed.
    pub billed_cents: i64,
    /// What waits for the next run.
    pub carried_cents: i64,
    /// Why it waits.
    pub held: Option<String>,
    /// What the run's notice asks for.
    pub issued_cents: Option<i64>,
}

/// A notice as it was issued.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NoticeRow {
    /// Row.
    pub id: i64,
    /// Run.
    pub run_id: i64,
    /// Payer.
    pub guardian_id: i64,
    /// Year.
    pub year: i64,
    /// Number in the year.
    pub number: i64,
    /// Creditor's fiscal code.
    pub creditor: String,
    /// Notice number, eighteen digits.
    pub notice_number: String,
    /// IUV.
    pub iuv: String,
    /// What for.
    pub subject: String,
    /// How much.
    pub total_cents: i64,
    /// Date.
    pub issued_on: NaiveDate,
    /// Until when it is to be paid.
    pub due_day: NaiveDate,
    /// Debtor's name.
    pub debtor_name: String,
    /// Debtor's fiscal code.
    pub debtor_fiscal_code: String,
    /// Debtor's address.
    pub debtor_address: Option<String>,
}

macro_rules! notice_columns {
    () => {
        "id, run_id, guardian_id, year, number, creditor, notice_number, iuv, subject, total_cents, issued_on, due_day,
            debtor_name, debtor_fiscal_code, debtor_address"
    };
}

/// A notice's line, with what explains it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NoticeLineRow {
    /// Row.
    pub id: i64,
    /// Child.
    pub child_id: i64,
    /// Its family name.
    pub last_name: String,
    /// Its given name.
    pub first_name: String,
    /// Its school, as of now.
    pub school: String,
    /// Its class, as of now.
    pub class: String,
    /// First day of the month that the days are of.
    pub month: NaiveDate,
    /// The days, bit by bit.
    pub days: i64,
    /// `meal` or `flat`.
    pub item: String,
    /// Why it is billed again.
    pub reason: Option<String>,
    /// In the office's words.
    pub note: String,
    /// Price, or difference.
    pub unit_cents: i64,
    /// How many.
    pub quantity: i64,
    /// Together.
    pub total_cents: i64,
    /// Payer's share.
    pub share_bp: i64,
    /// The price's steps, JSON.
    pub steps: Option<String>,
}

impl Tx {
    /// Lets one transaction at a time touch the ente's runs. SQLite's one writer does that by itself.
    pub async fn bill_alone(&mut self, ente: EnteId) -> Result<(), StoreError> {
        self.advisory_lock("SELECT pg_advisory_xact_lock($1, $2)", LOCK_BILLING, ente.0).await
    }

    /// The ente's run that is under way.
    pub async fn run_under_way(&mut self, ente: EnteId) -> Result<Option<RunRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", run_columns!(), " FROM billing_run WHERE ente_id = $1 AND ended_at IS NULL");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_optional(c))?)
    }

    /// Every run of an ente, the latest first.
    pub async fn runs(&mut self, ente: EnteId) -> Result<Vec<RunRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", run_columns!(), " FROM billing_run WHERE ente_id = $1 ORDER BY id DESC");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Begins a run; its row number is not looked at. Gives its row.
    pub async fn add_run(&mut self, ente: EnteId, new: &RunRow) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO billing_run
                (ente_id, month, first_day, threshold_cents, issued_on, due_day, actor, started_at, holder, held_until)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(new.month)
            .bind(new.first_day)
            .bind(new.threshold_cents)
            .bind(new.issued_on)
            .bind(new.due_day)
            .bind(&new.actor)
            .bind(new.started_at)
            .bind(&new.holder)
            .bind(new.held_until)
            .fetch_one(c))?)
    }

    /// Takes a run that is under way, or says that one is still at it.
    pub async fn hold_run(&mut self, run: i64, holder: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE billing_run SET holder = $2, held_until = $3 WHERE id = $1 AND ended_at IS NULL";
        run!(self, sqlx::query(SQL).bind(run).bind(holder).bind(until));
        Ok(())
    }

    /// Ends a run.
    pub async fn end_run(&mut self, run: i64, at: DateTime<Utc>, summary: &str) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE billing_run SET ended_at = $2, summary = $3 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(run).bind(at).bind(summary));
        Ok(())
    }

    /// The payers whose account a run has settled.
    pub async fn settled_by(&mut self, run: i64) -> Result<HashSet<i64>, StoreError> {
        const SQL: &str = "SELECT guardian_id FROM billing_outcome WHERE run_id = $1";
        let rows: Vec<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(run).fetch_all(c))?;
        Ok(rows.into_iter().collect())
    }

    /// The highest number of the ente's notices of a year; nought where there is none.
    pub async fn last_number(&mut self, ente: EnteId, year: i32) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COALESCE(MAX(number), 0) FROM notice WHERE ente_id = $1 AND year = $2";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(i64::from(year)).fetch_one(c))?)
    }

    /// The row of a basis, written down where it is new.
    pub async fn put_basis(&mut self, basis: Basis, price: &Price) -> Result<i64, StoreError> {
        const FIND: &str = "SELECT id FROM price_basis WHERE rate_id = $1 AND item = $2 AND sibling = $3 AND COALESCE(relief_id, 0) = $4";
        const PUT: &str = "INSERT INTO price_basis (rate_id, item, sibling, relief_id, price_cents, steps)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        let found: Option<i64> = on!(&mut *self, |c| sqlx::query_scalar(FIND)
            .bind(basis.rate)
            .bind(basis.item.word())
            .bind(i64::from(basis.sibling))
            .bind(basis.relief.unwrap_or(0))
            .fetch_optional(c))?;
        if let Some(found) = found {
            return Ok(found);
        }
        let steps = serde_json::Value::from(price.steps.clone()).to_string();
        Ok(on!(self, |c| sqlx::query_scalar(PUT)
            .bind(basis.rate)
            .bind(basis.item.word())
            .bind(i64::from(basis.sibling))
            .bind(basis.relief)
            .bind(price.cents.0)
            .bind(steps)
            .fetch_one(c))?)
    }

    /// Writes a notice down; gives its row.
    pub async fn add_notice(&mut self, new: &NewNotice<'_>) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO notice (ente_id, run_id, guardian_id, year, number, creditor, notice_number, iuv, subject,
                total_cents, issued_on, due_day, debtor_name, debtor_fiscal_code, debtor_address)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id";
        let (name, fiscal_code, address) = new.debtor;
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(new.ente.0)
            .bind(new.run)
            .bind(new.guardian)
            .bind(i64::from(new.number.0))
            .bind(new.number.1)
            .bind(new.creditor)
            .bind(new.notice_number.to_string())
            .bind(new.notice_number.iuv())
            .bind(new.subject)
            .bind(new.total.0)
            .bind(new.issued_on)
            .bind(new.due_day)
            .bind(name)
            .bind(fiscal_code)
            .bind(address)
            .fetch_one(c))?)
    }

    /// Adds a line to a notice.
    pub async fn add_notice_line(&mut self, notice: i64, line: &NewLine, total: Cents, basis: Option<i64>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO notice_line
                (notice_id, child_id, month, days, item, reason, note, unit_cents, quantity, total_cents, basis_id, share_bp)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let key = &line.key;
        run!(
            self,
            sqlx::query(SQL)
                .bind(notice)
                .bind(line.child)
                .bind(key.month.first())
                .bind(line.days.bits())
                .bind(key.item.word())
                .bind(key.reason.map(crate::billing::world::Reason::word))
                .bind(&key.note)
                .bind(key.unit.0)
                .bind(i64::from(line.quantity()))
                .bind(total.0)
                .bind(basis)
                .bind(i64::from(key.share))
        );
        Ok(())
    }

    /// Writes down how a payer's account was settled.
    pub async fn add_outcome(&mut self, row: &OutcomeRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO billing_outcome (run_id, guardian_id, due_cents, billed_cents, carried_cents, held)
            VALUES ($1, $2, $3, $4, $5, $6)";
        run!(
            self,
            sqlx::query(SQL)
                .bind(row.run_id)
                .bind(row.guardian_id)
                .bind(row.due_cents)
                .bind(row.billed_cents)
                .bind(row.carried_cents)
                .bind(&row.held)
        );
        Ok(())
    }

    /// How many notices a run has issued, and what they ask for.
    pub async fn run_totals(&mut self, run: i64) -> Result<(i64, i64), StoreError> {
        const SQL: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(total_cents), 0) AS BIGINT) FROM notice WHERE run_id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(run).fetch_one(c))?)
    }

    /// What waits after a run: why, how many payers, how much.
    pub async fn run_carried(&mut self, run: i64) -> Result<Vec<(String, i64, i64)>, StoreError> {
        const SQL: &str = "SELECT held, COUNT(*), CAST(SUM(carried_cents) AS BIGINT) FROM billing_outcome
            WHERE run_id = $1 AND held IS NOT NULL GROUP BY held ORDER BY held";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(run).fetch_all(c))?)
    }

    /// The notice of that year and number.
    pub async fn notice(&mut self, ente: EnteId, year: i64, number: i64) -> Result<Option<NoticeRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", notice_columns!(), " FROM notice WHERE ente_id = $1 AND year = $2 AND number = $3");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(year).bind(number).fetch_optional(c))?)
    }

    /// The notices of a month's runs, in the order of their numbers.
    pub async fn notices_of_month(&mut self, ente: EnteId, month: Month) -> Result<Vec<NoticeRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            notice_columns!(),
            " FROM notice WHERE run_id IN (SELECT id FROM billing_run WHERE ente_id = $1 AND month = $2) ORDER BY year, number"
        );
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(month.first()).fetch_all(c))?)
    }

    /// The lines of a notice: child by child, month by month, meals before what corrects others.
    pub async fn lines_of_notice(&mut self, notice: i64) -> Result<Vec<NoticeLineRow>, StoreError> {
        const SQL: &str = "SELECT l.id, l.child_id, k.last_name, k.first_name, s.name AS school, c.name AS class, l.month, l.days, l.item, l.reason, l.note,
                l.unit_cents, l.quantity, l.total_cents, l.share_bp, b.steps
            FROM notice_line l JOIN child k ON k.id = l.child_id JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id
            LEFT JOIN price_basis b ON b.id = l.basis_id
            WHERE l.notice_id = $1 ORDER BY l.child_id, l.month, CASE WHEN l.reason IS NULL THEN 0 ELSE 1 END, l.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(notice).fetch_all(c))?)
    }
}
