//! What is forgotten, and when (GDPR, art. 5 (1) e). Operations, meals and receipts stay (R10); nobody can tell any more whose they were.

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::{ChildId, EnteId, code::ChildCode, roster::NORMAL_DIET};

impl Tx {
    /// Deletes call records older than `before`, at most `limit` of them.
    pub async fn forget_calls(&mut self, ente: EnteId, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
        const SQL: &str =
            "DELETE FROM call WHERE id IN (SELECT id FROM call WHERE ente_id = $1 AND started_at < $2 ORDER BY started_at LIMIT $3)";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(before).bind(limit)))
    }

    /// Deletes lines of the audit trail older than `before`, at most `limit` of them.
    pub async fn forget_trail(&mut self, ente: EnteId, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE ente_id = $1 AND at < $2 ORDER BY at LIMIT $3)";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(before).bind(limit)))
    }

    /// Deletes mail that ended before `before`, letters' notes of it keep; at most `limit`.
    pub async fn forget_mail(&mut self, ente: EnteId, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
        const OLD: &str = "SELECT id FROM mail WHERE ente_id = $1 AND queued_at < $2 AND ended_at IS NOT NULL ORDER BY queued_at LIMIT $3";
        let letters = sqlx::AssertSqlSafe(format!("UPDATE letter SET mail_id = NULL WHERE mail_id IN ({OLD})"));
        let mails = sqlx::AssertSqlSafe(format!("DELETE FROM mail WHERE id IN ({OLD})"));
        run!(self, sqlx::query(letters).bind(ente.0).bind(before).bind(limit));
        Ok(run!(self, sqlx::query(mails).bind(ente.0).bind(before).bind(limit)))
    }

    /// Numbers from which no right code was typed since `before` are not known any more.
    pub async fn forget_callers(&mut self, ente: EnteId, before: DateTime<Utc>) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM known_caller WHERE ente_id = $1 AND last_at < $2";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(before)))
    }

    /// Children who left before `before`, or whose school year ended before it, and who are still known by name; at most `limit`.
    pub async fn children_to_forget(&mut self, ente: EnteId, before: NaiveDate, limit: i64) -> Result<Vec<ChildId>, StoreError> {
        const SQL: &str = "SELECT k.id FROM child k JOIN school_class c ON c.id = k.class_id
            WHERE k.ente_id = $1 AND k.forgotten_at IS NULL
                AND COALESCE(k.enrolled_last, (SELECT MAX(t.last_day) FROM term t WHERE t.school_year_id = c.school_year_id)) < $2
            ORDER BY k.id LIMIT $3";
        let ids: Vec<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(before).bind(limit).fetch_all(c))?;
        Ok(ids.into_iter().map(ChildId).collect())
    }

    /// Takes a child's name, keys and words out of everything, and the guardians with it who have no other child; `code` takes the
    /// place of its keypad code, which nobody else gets. Its operations lose who asked.
    pub async fn forget_child(&mut self, ente: EnteId, child: ChildId, code: &ChildCode, at: DateTime<Utc>) -> Result<(), StoreError> {
        const GUARDIANS: &str = "SELECT guardian_id FROM child_guardian WHERE child_id = $1
            UNION SELECT guardian_id FROM child_delegate WHERE child_id = $1";
        const CHILD: &str = "UPDATE child SET last_name = 'Bambino', first_name = 'n. ' || CAST(id AS TEXT), fiscal_code = NULL,
                external_ref = NULL, sort_name = 'bambino', version = version + 1, diet = $3, forgotten_at = $2 WHERE id = $1";
        const STATEMENTS: [&str; 6] = [
            "UPDATE operation SET actor = 'forgotten', note = NULL WHERE child_id = $1 AND (actor <> 'forgotten' OR note IS NOT NULL)",
            "DELETE FROM child_word WHERE child_id = $1",
            "DELETE FROM child_guardian WHERE child_id = $1",
            "DELETE FROM child_delegate WHERE child_id = $1",
            "DELETE FROM letter WHERE child_id = $1",
            "DELETE FROM batch_row WHERE row_id = $1 AND kind = 'child'",
        ];
        let guardians: Vec<i64> = on!(&mut *self, |c| sqlx::query_scalar(GUARDIANS).bind(child.0).fetch_all(c))?;
        self.forget_tickets_of_child(child).await?;
        self.replace_code(ente, child, code).await?;
        run!(self, sqlx::query(CHILD).bind(child.0).bind(at).bind(NORMAL_DIET));
        for sql in STATEMENTS {
            run!(self, sqlx::query(sql).bind(child.0));
        }
        for guardian in guardians {
            self.forget_guardian_alone(guardian).await?;
        }
        Ok(())
    }

    /// Deletes a guardian of whom no child is left and who was never billed: accounts are kept, with the name that they were made out to
    /// (GDPR, art. 17 (3) b).
    async fn forget_guardian_alone(&mut self, guardian: i64) -> Result<(), StoreError> {
        const CHILDREN: &str = "SELECT (SELECT COUNT(*) FROM child_guardian WHERE guardian_id = $1)
            + (SELECT COUNT(*) FROM child_delegate WHERE guardian_id = $1) + (SELECT COUNT(*) FROM isee WHERE guardian_id = $1)
            + (SELECT COUNT(*) FROM payment_share_part WHERE guardian_id = $1) + (SELECT COUNT(*) FROM billing_outcome WHERE guardian_id = $1)";
        let children: i64 = on!(&mut *self, |c| sqlx::query_scalar(CHILDREN).bind(guardian).fetch_one(c))?;
        if children > 0 {
            return Ok(());
        }
        self.forget_tickets_of_adult(guardian).await?;
        for sql in [
            "DELETE FROM guardian_word WHERE guardian_id = $1",
            "UPDATE letter SET guardian_id = NULL WHERE guardian_id = $1",
            "DELETE FROM batch_row WHERE row_id = $1 AND kind = 'adult'",
            "DELETE FROM guardian WHERE id = $1",
        ] {
            run!(self, sqlx::query(sql).bind(guardian));
        }
        Ok(())
    }
}
