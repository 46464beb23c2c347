//! News to families, whom they are for, and how far their mail has come.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A school, or a class of it, that a news item is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::FromRow)]
pub struct NewsTarget {
    /// The school's row.
    #[sqlx(rename = "school_id")]
    pub school: i64,
    /// The class's row; `None` for the whole school.
    #[sqlx(rename = "class_id")]
    pub class: Option<i64>,
}

/// A news item as the office keeps it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NewsRow {
    /// Row.
    pub id: i64,
    /// Grows with each change; guards against two people changing one row.
    pub version: i64,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// What the office has decided: `draft`, `public`, `withdrawn`.
    pub state: String,
    /// From when on it is seen.
    pub from_at: Option<DateTime<Utc>>,
    /// Until when; this instant is not in any more.
    pub until_at: Option<DateTime<Utc>>,
    /// Above the others.
    pub pinned: bool,
    /// Goes out by mail as well.
    pub by_mail: bool,
    /// The closure that it tells of.
    pub closure_id: Option<i64>,
    /// Who wrote it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who changed it last.
    pub changed_by: String,
    /// When.
    pub changed_at: DateTime<Utc>,
    /// Who made it public.
    pub published_by: Option<String>,
    /// Mails queued so far.
    pub mailed: i64,
    /// When all of them were.
    pub mailed_at: Option<DateTime<Utc>>,
}

/// What of a news item is written.
#[derive(Debug, Clone, Copy)]
pub struct PutNews<'a> {
    /// One line.
    pub title: &'a str,
    /// Markdown.
    pub body: &'a str,
    /// From when on it is seen.
    pub from_at: Option<DateTime<Utc>>,
    /// Until when.
    pub until_at: Option<DateTime<Utc>>,
    /// Above the others.
    pub pinned: bool,
    /// Goes out by mail as well.
    pub by_mail: bool,
    /// Who writes it.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// What the office decides of a news item.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// `draft`, `public`, `withdrawn`.
    pub state: &'a str,
    /// From when on it is seen; `None`: as it was.
    pub from_at: Option<DateTime<Utc>>,
    /// Who decides.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// News as a family reads it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FamilyNews {
    /// Row.
    pub id: i64,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Above the others.
    pub pinned: bool,
    /// Since when it is public.
    pub from_at: DateTime<Utc>,
}

/// A guardian to whom news are mailed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NewsReader {
    /// Row.
    pub id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// E-mail address.
    pub email: String,
}

/// Whom a news item reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Children of the schools and classes.
    pub children: i64,
    /// Different addresses of their guardians.
    pub addresses: i64,
    /// Children none of whose guardians has an address.
    pub without_address: i64,
}

/// How the list of news is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewsOrder {
    /// By the last change.
    #[default]
    Changed,
    /// By title.
    Title,
    /// By when they become public.
    Start,
}

/// Which news are listed, by what the office decided and what time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewsKind {
    /// All.
    #[default]
    All,
    /// Not decided on.
    Draft,
    /// Public from a later instant on.
    Scheduled,
    /// To be seen now.
    Public,
    /// Taken back.
    Withdrawn,
    /// Over.
    Expired,
}

impl NewsKind {
    /// The condition; `$2` is the instant.
    fn sql(self) -> &'static str {
        match self {
            Self::All => "CAST($2 AS TEXT) IS NOT NULL",
            Self::Draft => "state = 'draft' AND CAST($2 AS TEXT) IS NOT NULL",
            Self::Withdrawn => "state = 'withdrawn' AND CAST($2 AS TEXT) IS NOT NULL",
            Self::Scheduled => "state = 'public' AND from_at > $2",
            Self::Public => "state = 'public' AND from_at <= $2 AND (until_at IS NULL OR until_at > $2)",
            Self::Expired => "state = 'public' AND until_at <= $2",
        }
    }
}

/// Which news are listed, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewsFilter {
    /// In this state.
    pub kind: NewsKind,
    /// Sorted by this.
    pub order: NewsOrder,
    /// From the greatest down.
    pub descending: bool,
}

const ROW: &str =
    "id, version, title, body, state, from_at, until_at, pinned, by_mail, closure_id, created_by, created_at, changed_by, changed_at,
    published_by, mailed, mailed_at";

/// Is child `k`, of class `c`, one whom news item $1 is for, and here on day $2? Children of an earlier school year are not.
const CONCERNED: &str = "k.forgotten_at IS NULL AND (k.enrolled_last IS NULL OR k.enrolled_last >= $2)
    AND c.school_year_id = (SELECT y.id FROM school_year y JOIN news n ON n.ente_id = y.ente_id WHERE n.id = $1 ORDER BY y.name DESC LIMIT 1)
    AND (NOT EXISTS (SELECT 1 FROM news_target t WHERE t.news_id = $1)
        OR EXISTS (SELECT 1 FROM news_target t WHERE t.news_id = $1 AND t.school_id = c.school_id AND (t.class_id IS NULL OR t.class_id = c.id)))";

impl Tx {
    /// A new draft.
    pub async fn add_news(&mut self, ente: EnteId, news: &PutNews<'_>, closure: Option<i64>) -> Result<i64, StoreError> {
        const SQL: &str =
            "INSERT INTO news (ente_id, version, title, body, state, from_at, until_at, pinned, by_mail, closure_id, created_by,
                created_at, changed_by, changed_at, mail_to, mailed)
            VALUES ($1, 1, $2, $3, 'draft', $4, $5, $6, $7, $8, $9, $10, $9, $10, 0, 0) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(news.title)
            .bind(news.body)
            .bind(news.from_at)
            .bind(news.until_at)
            .bind(news.pinned)
            .bind(news.by_mail)
            .bind(closure)
            .bind(news.actor)
            .bind(news.at)
            .fetch_one(c))?)
    }

    /// Writes a news item anew.
    pub async fn put_news(&mut self, ente: EnteId, id: i64, news: &PutNews<'_>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE news SET title = $3, body = $4, from_at = $5, until_at = $6, pinned = $7, by_mail = $8, changed_by = $9,
            changed_at = $10, version = version + 1 WHERE ente_id = $1 AND id = $2";
        run!(
            self,
            sqlx::query(SQL)
                .bind(ente.0)
                .bind(id)
                .bind(news.title)
                .bind(news.body)
                .bind(news.from_at)
                .bind(news.until_at)
                .bind(news.pinned)
                .bind(news.by_mail)
                .bind(news.actor)
                .bind(news.at)
        );
        Ok(())
    }

    /// Says whom a news item is for; nobody in particular is everybody.
    pub async fn put_news_targets(&mut self, id: i64, targets: &[NewsTarget]) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO news_target (news_id, position, school_id, class_id) VALUES ($1, $2, $3, $4)";
        run!(self, sqlx::query("DELETE FROM news_target WHERE news_id = $1").bind(id));
        for (position, target) in (0i64..).zip(targets) {
            run!(self, sqlx::query(SQL).bind(id).bind(position).bind(target.school).bind(target.class));
        }
        Ok(())
    }

    /// Whom a news item is for.
    pub async fn news_targets(&mut self, id: i64) -> Result<Vec<NewsTarget>, StoreError> {
        const SQL: &str = "SELECT school_id, class_id FROM news_target WHERE news_id = $1 ORDER BY position";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).fetch_all(c))?)
    }

    /// Decides on a news item that stands at `version`; `false` where it does not any more.
    pub async fn decide_news(&mut self, ente: EnteId, id: i64, version: i64, decision: &Decision<'_>) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE news SET state = $4, from_at = COALESCE($5, from_at), changed_by = $6, changed_at = $7, version = version + 1,
            published_by = CASE WHEN $4 = 'public' THEN $6 ELSE published_by END WHERE ente_id = $1 AND id = $2 AND version = $3";
        Ok(run!(
            self,
            sqlx::query(SQL)
                .bind(ente.0)
                .bind(id)
                .bind(version)
                .bind(decision.state)
                .bind(decision.from_at)
                .bind(decision.actor)
                .bind(decision.at)
        ) > 0)
    }

    /// Deletes a draft; `false` where it is none, or not at that version.
    pub async fn delete_news(&mut self, ente: EnteId, id: i64, version: i64) -> Result<bool, StoreError> {
        const TARGETS: &str = "DELETE FROM news_target WHERE news_id IN
            (SELECT id FROM news WHERE ente_id = $1 AND id = $2 AND version = $3 AND state = 'draft' AND mailed = 0)";
        const SQL: &str = "DELETE FROM news WHERE ente_id = $1 AND id = $2 AND version = $3 AND state = 'draft' AND mailed = 0";
        run!(self, sqlx::query(TARGETS).bind(ente.0).bind(id).bind(version));
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(version)) > 0)
    }

    /// One news item of an ente.
    pub async fn news(&mut self, ente: EnteId, id: i64) -> Result<Option<NewsRow>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {ROW} FROM news WHERE ente_id = $1 AND id = $2"));
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// The news item that tells of a closure.
    pub async fn news_of_closure(&mut self, ente: EnteId, closure: i64) -> Result<Option<i64>, StoreError> {
        const SQL: &str = "SELECT id FROM news WHERE ente_id = $1 AND closure_id = $2";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(closure).fetch_optional(c))?)
    }

    /// A page of the news as they stand at `now`, and how many there are.
    pub async fn list_news(
        &mut self,
        ente: EnteId,
        filter: NewsFilter,
        now: DateTime<Utc>,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<NewsRow>, i64), StoreError> {
        let wanted = format!("ente_id = $1 AND {}", filter.kind.sql());
        let column = match filter.order {
            NewsOrder::Changed => "changed_at",
            NewsOrder::Title => "title",
            NewsOrder::Start => "from_at",
        };
        let way = if filter.descending { "DESC" } else { "ASC" };
        let rows =
            sqlx::AssertSqlSafe(format!("SELECT {ROW} FROM news WHERE {wanted} ORDER BY {column} {way}, id {way} LIMIT $3 OFFSET $4"));
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM news WHERE {wanted}"));
        let rows = on!(&mut *self, |c| sqlx::query_as(rows).bind(ente.0).bind(now).bind(limit).bind(offset).fetch_all(c))?;
        let count = on!(self, |c| sqlx::query_scalar(count).bind(ente.0).bind(now).fetch_one(c))?;
        Ok((rows, count))
    }

    /// What an adult may read at `now`: news for the schools and classes of the children they answer or are delegated for, who are here `today`;
    /// pinned ones first, then the latest; at most `limit`.
    pub async fn news_of_adult(
        &mut self,
        ente: EnteId,
        adult: i64,
        now: DateTime<Utc>,
        today: NaiveDate,
        limit: i64,
    ) -> Result<Vec<FamilyNews>, StoreError> {
        const SQL: &str = "SELECT n.id, n.title, n.body, n.pinned, n.from_at FROM news n
            WHERE n.ente_id = $1 AND n.state = 'public' AND n.from_at <= $3 AND (n.until_at IS NULL OR n.until_at > $3)
                AND EXISTS (SELECT 1 FROM child k JOIN school_class c ON c.id = k.class_id
                    WHERE k.id IN (SELECT child_id FROM child_guardian WHERE guardian_id = $2
                            UNION SELECT child_id FROM child_delegate WHERE guardian_id = $2)
                        AND k.ente_id = $1 AND k.forgotten_at IS NULL AND (k.enrolled_last IS NULL OR k.enrolled_last >= $4)
                        AND c.school_year_id = (SELECT id FROM school_year WHERE ente_id = $1 ORDER BY name DESC LIMIT 1)
                        AND (NOT EXISTS (SELECT 1 FROM news_target t WHERE t.news_id = n.id)
                            OR EXISTS (SELECT 1 FROM news_target t WHERE t.news_id = n.id AND t.school_id = c.school_id
                                AND (t.class_id IS NULL OR t.class_id = c.id))))
            ORDER BY n.pinned DESC, n.from_at DESC, n.id DESC LIMIT $5";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(adult).bind(now).bind(today).bind(limit).fetch_all(c))?)
    }

    /// Whom a news item reaches.
    pub async fn news_reach(&mut self, id: i64, today: NaiveDate) -> Result<Reach, StoreError> {
        let children = format!(
            "SELECT COUNT(*), COUNT(CASE WHEN NOT EXISTS (SELECT 1 FROM child_guardian l JOIN guardian g ON g.id = l.guardian_id
                    WHERE l.child_id = k.id AND g.email IS NOT NULL) THEN 1 END)
                FROM school_class c CROSS JOIN child k WHERE k.class_id = c.id AND {CONCERNED}"
        );
        let addresses = format!(
            "SELECT COUNT(DISTINCT LOWER(g.email)) FROM school_class c CROSS JOIN child k JOIN child_guardian l ON l.child_id = k.id
                JOIN guardian g ON g.id = l.guardian_id WHERE k.class_id = c.id AND g.email IS NOT NULL AND {CONCERNED}"
        );
        let (children, addresses) = (sqlx::AssertSqlSafe(children), sqlx::AssertSqlSafe(addresses));
        let (children, without_address) = on!(&mut *self, |c| sqlx::query_as(children).bind(id).bind(today).fetch_one(c))?;
        let addresses = on!(self, |c| sqlx::query_scalar(addresses).bind(id).bind(today).fetch_one(c))?;
        Ok(Reach { children, addresses, without_address })
    }

    /// News of an ente that are public at `now` and whose mail is not queued yet.
    pub async fn news_to_mail(&mut self, ente: EnteId, now: DateTime<Utc>) -> Result<Vec<i64>, StoreError> {
        const SQL: &str = "SELECT id FROM news WHERE ente_id = $1 AND state = 'public' AND by_mail AND mailed_at IS NULL AND from_at <= $2
            AND (until_at IS NULL OR until_at > $2) ORDER BY id LIMIT 100";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(now).fetch_all(c))?)
    }

    /// Takes the mailing of a news item for this transaction alone: up to which adult its mail is queued. `None` where there is nothing to mail any more.
    pub async fn take_news_mail(&mut self, id: i64) -> Result<Option<i64>, StoreError> {
        const SQL: &str =
            "UPDATE news SET mail_to = mail_to WHERE id = $1 AND state = 'public' AND by_mail AND mailed_at IS NULL RETURNING mail_to";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_optional(c))?)
    }

    /// The guardians whom a news item concerns, with an address, whose rows come after `after`; at most `limit`.
    pub async fn news_readers(&mut self, id: i64, today: NaiveDate, after: i64, limit: i64) -> Result<Vec<NewsReader>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT g.id, g.last_name, g.first_name, g.email FROM guardian g
            WHERE g.ente_id = (SELECT ente_id FROM news WHERE id = $1) AND g.id > $3 AND g.email IS NOT NULL
                AND EXISTS (SELECT 1 FROM child_guardian l JOIN child k ON k.id = l.child_id JOIN school_class c ON c.id = k.class_id
                    WHERE l.guardian_id = g.id AND {CONCERNED})
            ORDER BY g.id LIMIT $4"
        ));
        Ok(on!(self, |c| sqlx::query_as(sql).bind(id).bind(today).bind(after).bind(limit).fetch_all(c))?)
    }

    /// Notes how far the mail has come; with `done` it is all queued.
    pub async fn put_news_mail(&mut self, id: i64, to: i64, mailed: i64, done: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE news SET mail_to = $2, mailed = mailed + $3, mailed_at = $4 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(id).bind(to).bind(mailed).bind(done));
        Ok(())
    }
}
