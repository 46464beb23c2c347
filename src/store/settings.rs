//! The office's settings, and changes of the window that wait for their day.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// What the office has set.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SettingsRow {
    /// How often they were changed.
    pub version: i64,
    /// The office within the ente.
    pub office: Option<String>,
    /// Lines below its name.
    pub heading: Option<String>,
    /// Where letters are signed.
    pub place: Option<String>,
    /// The office's e-mail address.
    pub email: Option<String>,
    /// Who signs, lines.
    pub signature: Option<String>,
    /// The portal's address.
    pub portal: Option<String>,
    /// Offered on the telephone, a bit an option.
    pub phone_options: i64,
    /// For how many days call records are kept.
    pub keep_calls_days: i64,
    /// For how many days the audit trail is kept.
    pub keep_audit_days: i64,
    /// For how many days children are known by name after they have left.
    pub keep_left_days: i64,
    /// For how many days tickets are kept after they were closed.
    pub keep_tickets_days: i64,
}

impl Default for SettingsRow {
    /// Everything offered; calls, trail and closed tickets for two years, children who left for ten (claims for unpaid meals end then: art. 2946 c.c.).
    fn default() -> Self {
        Self {
            version: 0,
            office: None,
            heading: None,
            place: None,
            email: None,
            signature: None,
            portal: None,
            phone_options: 0b1_1111,
            keep_calls_days: 730,
            keep_audit_days: 730,
            keep_left_days: 3_650,
            keep_tickets_days: 730,
        }
    }
}

/// A change of window and cut-off.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WindowChangeRow {
    /// Row.
    pub id: i64,
    /// The first day that it holds for.
    pub first_day: NaiveDate,
    /// When the line opens for it, the evening before.
    pub opens: NaiveTime,
    /// Its cut-off.
    pub cutoff: NaiveTime,
    /// What held before.
    pub old_opens: NaiveTime,
    /// What held before.
    pub old_cutoff: NaiveTime,
    /// When it was entered.
    pub entered_at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// Since when it holds.
    pub applied_at: Option<DateTime<Utc>>,
}

/// A change to be entered.
#[derive(Debug, Clone, Copy)]
pub struct PutWindowChange<'a> {
    /// The first day that it holds for.
    pub first_day: NaiveDate,
    /// When the line opens for it.
    pub opens: NaiveTime,
    /// Its cut-off.
    pub cutoff: NaiveTime,
    /// What holds until then.
    pub old: (NaiveTime, NaiveTime),
    /// By whom.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

const CHANGE: &str = "id, first_day, opens, cutoff, old_opens, old_cutoff, entered_at, actor, applied_at";

impl Tx {
    /// What the office has set; `None` where it has set nothing yet.
    pub async fn settings(&mut self, ente: EnteId) -> Result<Option<SettingsRow>, StoreError> {
        const SQL: &str =
            "SELECT version, office, heading, place, email, signature, portal, phone_options, keep_calls_days, keep_audit_days,
                keep_left_days, keep_tickets_days FROM ente_settings WHERE ente_id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_optional(c))?)
    }

    /// Writes settings over version `row.version`; `false` where somebody else was quicker.
    pub async fn put_settings(&mut self, ente: EnteId, row: &SettingsRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO ente_settings (ente_id, version, office, heading, place, email, signature, portal, phone_options,
                keep_calls_days, keep_audit_days, keep_left_days, keep_tickets_days)
            VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
            ON CONFLICT (ente_id) DO UPDATE SET version = excluded.version, office = excluded.office, heading = excluded.heading,
                place = excluded.place, email = excluded.email, signature = excluded.signature, portal = excluded.portal,
                phone_options = excluded.phone_options, keep_calls_days = excluded.keep_calls_days,
                keep_audit_days = excluded.keep_audit_days, keep_left_days = excluded.keep_left_days,
                keep_tickets_days = excluded.keep_tickets_days
            WHERE ente_settings.version = $2";
        let written = run!(
            self,
            sqlx::query(SQL)
                .bind(ente.0)
                .bind(row.version)
                .bind(row.office.as_deref())
                .bind(row.heading.as_deref())
                .bind(row.place.as_deref())
                .bind(row.email.as_deref())
                .bind(row.signature.as_deref())
                .bind(row.portal.as_deref())
                .bind(row.phone_options)
                .bind(row.keep_calls_days)
                .bind(row.keep_audit_days)
                .bind(row.keep_left_days)
                .bind(row.keep_tickets_days)
        );
        Ok(written > 0)
    }

    /// The ente's name and telephone number, as the office has it.
    pub async fn put_ente_name(&mut self, ente: EnteId, name: &str, office_phone: Option<&str>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE ente SET name = $2, office_phone = $3 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(name).bind(office_phone));
        Ok(())
    }

    /// The logo: media type and picture.
    pub async fn logo(&mut self, ente: EnteId) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        const SQL: &str = "SELECT media_type, picture FROM ente_logo WHERE ente_id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_optional(c))?)
    }

    /// Keeps a logo, or takes it away.
    pub async fn put_logo(&mut self, ente: EnteId, logo: Option<(&str, &[u8])>) -> Result<(), StoreError> {
        run!(self, sqlx::query("DELETE FROM ente_logo WHERE ente_id = $1").bind(ente.0));
        if let Some((media_type, picture)) = logo {
            const SQL: &str = "INSERT INTO ente_logo (ente_id, media_type, picture) VALUES ($1, $2, $3)";
            run!(self, sqlx::query(SQL).bind(ente.0).bind(media_type).bind(picture));
        }
        Ok(())
    }

    /// Telephone numbers that letters print, each with what to say of it.
    pub async fn printed_numbers(&mut self, ente: EnteId) -> Result<Vec<(String, Option<String>)>, StoreError> {
        const SQL: &str = "SELECT number, note FROM printed_number WHERE ente_id = $1 ORDER BY position";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Sets the numbers that letters print.
    pub async fn put_printed_numbers(&mut self, ente: EnteId, numbers: &[(String, Option<String>)]) -> Result<(), StoreError> {
        run!(self, sqlx::query("DELETE FROM printed_number WHERE ente_id = $1").bind(ente.0));
        for (position, (number, note)) in numbers.iter().enumerate() {
            const SQL: &str = "INSERT INTO printed_number (ente_id, position, number, note) VALUES ($1, $2, $3, $4)";
            let position = position as i64;
            run!(self, sqlx::query(SQL).bind(ente.0).bind(position).bind(number).bind(note.as_deref()));
        }
        Ok(())
    }

    /// Which options the telephone offers, a bit an option; all where the office has set nothing.
    pub async fn phone_options(&mut self, ente: EnteId) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT phone_options FROM ente_settings WHERE ente_id = $1";
        let set: Option<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).fetch_optional(c))?;
        Ok(set.unwrap_or(SettingsRow::default().phone_options))
    }

    /// The change of window that waits for its day.
    pub async fn window_change(&mut self, ente: EnteId) -> Result<Option<WindowChangeRow>, StoreError> {
        let sql = format!("SELECT {CHANGE} FROM window_change WHERE ente_id = $1 AND applied_at IS NULL AND withdrawn_at IS NULL");
        let sql = sqlx::AssertSqlSafe(sql);
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).fetch_optional(c))?)
    }

    /// Window and cut-off that held at `at`, where they have been changed since.
    pub async fn window_before(&mut self, ente: EnteId, at: DateTime<Utc>) -> Result<Option<(NaiveTime, NaiveTime)>, StoreError> {
        const SQL: &str =
            "SELECT old_opens, old_cutoff FROM window_change WHERE ente_id = $1 AND applied_at > $2 ORDER BY applied_at, id LIMIT 1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(at).fetch_optional(c))?)
    }

    /// Enters a change; one that waited before is withdrawn.
    pub async fn put_window_change(&mut self, ente: EnteId, change: &PutWindowChange<'_>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO window_change (ente_id, first_day, opens, cutoff, old_opens, old_cutoff, entered_at, actor)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        self.withdraw_window_change(ente, change.at).await?;
        run!(
            self,
            sqlx::query(SQL)
                .bind(ente.0)
                .bind(change.first_day)
                .bind(change.opens)
                .bind(change.cutoff)
                .bind(change.old.0)
                .bind(change.old.1)
                .bind(change.at)
                .bind(change.actor)
        );
        Ok(())
    }

    /// Takes the waiting change back; returns whether there was one.
    pub async fn withdraw_window_change(&mut self, ente: EnteId, at: DateTime<Utc>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE window_change SET withdrawn_at = $2 WHERE ente_id = $1 AND applied_at IS NULL AND withdrawn_at IS NULL";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(at)) > 0)
    }

    /// From now on the change holds.
    pub async fn apply_window_change(&mut self, ente: EnteId, change: &WindowChangeRow, at: DateTime<Utc>) -> Result<(), StoreError> {
        const ENTE: &str = "UPDATE ente SET opens = $2, cutoff = $3 WHERE id = $1";
        const SQL: &str = "UPDATE window_change SET applied_at = $2 WHERE id = $1";
        run!(self, sqlx::query(ENTE).bind(ente.0).bind(change.opens).bind(change.cutoff));
        run!(self, sqlx::query(SQL).bind(change.id).bind(at));
        Ok(())
    }
}
