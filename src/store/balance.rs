//! What `voceguida check` asks of the accounts.

use super::{OutcomeRow, StoreError, Tx, on};
use crate::canteen::EnteId;

impl Tx {
    /// Years whose notices are not numbered without gaps: year, how many, lowest and highest number.
    pub async fn numbering_gaps(&mut self, ente: EnteId) -> Result<Vec<(i64, i64, i64, i64)>, StoreError> {
        const SQL: &str = "SELECT year, COUNT(*), MIN(number), MAX(number) FROM notice WHERE ente_id = $1
            GROUP BY year HAVING COUNT(*) <> MAX(number) OR MIN(number) <> 1 ORDER BY year";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Notices whose lines do not add up to their total: year, number, total, sum of the lines.
    pub async fn unbalanced_notices(&mut self, ente: EnteId) -> Result<Vec<(i64, i64, i64, i64)>, StoreError> {
        const SQL: &str = "SELECT n.year, n.number, n.total_cents, CAST(COALESCE(SUM(l.total_cents), 0) AS BIGINT)
            FROM notice n LEFT JOIN notice_line l ON l.notice_id = n.id WHERE n.ente_id = $1
            GROUP BY n.id, n.year, n.number, n.total_cents HAVING COALESCE(SUM(l.total_cents), 0) <> n.total_cents
            ORDER BY n.year, n.number LIMIT 100";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Lines' days and quantity, and the notice that they stand on (year, number), a page at a time after the line `after`.
    pub async fn line_days(&mut self, ente: EnteId, after: i64) -> Result<Vec<(i64, i64, i64, i64, i64)>, StoreError> {
        const SQL: &str = "SELECT l.id, l.days, l.quantity, n.year, n.number FROM notice_line l JOIN notice n ON n.id = l.notice_id
            WHERE n.ente_id = $1 AND l.id > $2 ORDER BY l.id LIMIT 5000";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(after).fetch_all(c))?)
    }

    /// Notice numbers and IUVs with their notice (row, year, number), a page at a time after the notice `after`.
    pub async fn notice_numbers(&mut self, ente: EnteId, after: i64) -> Result<Vec<(i64, i64, i64, String, String)>, StoreError> {
        const SQL: &str = "SELECT id, year, number, notice_number, iuv FROM notice WHERE ente_id = $1 AND id > $2 ORDER BY id LIMIT 5000";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(after).fetch_all(c))?)
    }

    /// Accounts whose due less billed is not what was issued or carried, and notices without an account.
    pub async fn unbalanced_outcomes(&mut self, ente: EnteId) -> Result<Vec<OutcomeRow>, StoreError> {
        const SQL: &str = "SELECT r.id AS run_id, COALESCE(o.guardian_id, n.guardian_id) AS guardian_id, COALESCE(o.due_cents, 0) AS due_cents,
                COALESCE(o.billed_cents, 0) AS billed_cents, COALESCE(o.carried_cents, 0) AS carried_cents, o.held, n.total_cents AS issued_cents
            FROM billing_run r JOIN billing_outcome o ON o.run_id = r.id
            LEFT JOIN notice n ON n.run_id = o.run_id AND n.guardian_id = o.guardian_id
            WHERE r.ente_id = $1 AND (o.due_cents - o.billed_cents <> o.carried_cents + COALESCE(n.total_cents, 0)
                OR (o.held IS NULL) <> (n.id IS NOT NULL))
            UNION ALL
            SELECT n.run_id, n.guardian_id, 0, 0, 0, NULL, n.total_cents FROM notice n
            WHERE n.ente_id = $1 AND NOT EXISTS (SELECT 1 FROM billing_outcome o WHERE o.run_id = n.run_id AND o.guardian_id = n.guardian_id)
            ORDER BY 1, 2 LIMIT 100";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// What each adult was asked for, in all.
    pub async fn issued_to(&mut self, ente: EnteId) -> Result<std::collections::BTreeMap<i64, i64>, StoreError> {
        const SQL: &str = "SELECT guardian_id, CAST(SUM(total_cents) AS BIGINT) FROM notice WHERE ente_id = $1 GROUP BY guardian_id";
        let rows: Vec<(i64, i64)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        Ok(rows.into_iter().collect())
    }

    /// Closed days whose meal records are not as many as the kitchen was told: school, day, told, recorded.
    pub async fn miscounted_days(&mut self, ente: EnteId) -> Result<Vec<(String, chrono::NaiveDate, i64, i64)>, StoreError> {
        const SQL: &str = "SELECT s.name, d.day, d.meals,
                (SELECT COUNT(*) FROM meal m WHERE m.day = d.day AND m.school_id = d.school_id AND m.state IN ('served', 'white')) AS recorded
            FROM closed_day d JOIN school s ON s.id = d.school_id
            WHERE s.ente_id = $1 AND d.meals <>
                (SELECT COUNT(*) FROM meal m WHERE m.day = d.day AND m.school_id = d.school_id AND m.state IN ('served', 'white'))
            ORDER BY d.day, s.name LIMIT 100";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }
}
