//! What other systems read, from where they were on: children, operations.

use chrono::NaiveDate;

use super::{
    Db, StoreError, Tx, on,
    operation::{OperationRow, StoredOperation},
};
use crate::canteen::{ChildId, EnteId};

/// A child, as other systems know it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FeedChild {
    /// Row.
    pub id: i64,
    /// School's row.
    pub school_id: i64,
    /// Class's row.
    pub class_id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Diet.
    pub diet: String,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
}

/// An operation and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOperation {
    /// The child.
    pub child: ChildId,
    /// The operation.
    pub operation: StoredOperation,
}

#[derive(sqlx::FromRow)]
struct Row {
    child_id: i64,
    #[sqlx(flatten)]
    operation: OperationRow,
}

impl TryFrom<Row> for FeedOperation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self { child: ChildId(row.child_id), operation: row.operation.try_into()? })
    }
}

impl Db {
    /// Begins a transaction that only reads, once the operations of the ente that are under way have been committed or given up: they have
    /// their row numbers already, and who reads on from a later number would never see them. New ones wait meanwhile: keep it short; it gives
    /// up itself rather than hold them up for long. SQLite's one writer hands out numbers in the order of the commits.
    pub async fn read_settled(&self, ente: EnteId) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite { .. } => self.read().await,
            Self::Postgres(pool) => {
                // Each statement has its own picture: the one after the lock sees what was waited for.
                let mut tx = Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY").await?);
                if let Tx::Postgres(tx) = &mut tx {
                    sqlx::query("SET LOCAL lock_timeout = '1s'").execute(&mut **tx).await?;
                }
                tx.shut_day(ente.0).await?;
                Ok(tx)
            }
        }
    }
}

impl Tx {
    /// The children of an ente whose rows come after `after`, of one school or class where one is given; those who are forgotten are left out.
    pub async fn feed_children(
        &mut self,
        ente: EnteId,
        school: Option<i64>,
        class: Option<i64>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<FeedChild>, StoreError> {
        const SQL: &str = "SELECT k.id, c.school_id, k.class_id, k.last_name, k.first_name, k.diet, k.enrolled_first, k.enrolled_last
            FROM child k JOIN school_class c ON c.id = k.class_id
            WHERE k.ente_id = $1 AND k.id > $2 AND k.forgotten_at IS NULL AND ($3 = 0 OR c.school_id = $3) AND ($4 = 0 OR k.class_id = $4)
            ORDER BY k.id LIMIT $5";
        Ok(on!(self, |c| sqlx::query_as(SQL)
            .bind(ente.0)
            .bind(after)
            .bind(school.unwrap_or_default())
            .bind(class.unwrap_or_default())
            .bind(limit)
            .fetch_all(c))?)
    }

    /// One child of this ente, unless it is forgotten.
    pub async fn feed_child(&mut self, ente: EnteId, child: ChildId) -> Result<Option<FeedChild>, StoreError> {
        const SQL: &str = "SELECT k.id, c.school_id, k.class_id, k.last_name, k.first_name, k.diet, k.enrolled_first, k.enrolled_last
            FROM child k JOIN school_class c ON c.id = k.class_id WHERE k.id = $2 AND k.ente_id = $1 AND k.forgotten_at IS NULL";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(child.0).fetch_optional(c))?)
    }

    /// The operations of an ente whose rows come after `after`, of one child where one is given, oldest first.
    pub async fn operations_after(
        &mut self,
        ente: EnteId,
        child: Option<ChildId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<FeedOperation>, StoreError> {
        const ALL: &str = "SELECT child_id, id, channel, at, choice, until_day, reason, day, receipt, actor, call_id, note, late
            FROM operation WHERE ente_id = $1 AND $2 = 0 AND id > $3 ORDER BY id LIMIT $4";
        const OF_CHILD: &str = "SELECT child_id, id, channel, at, choice, until_day, reason, day, receipt, actor, call_id, note, late
            FROM operation WHERE ente_id = $1 AND child_id = $2 AND id > $3 ORDER BY id LIMIT $4";
        let (sql, child) = child.map_or((ALL, 0), |child| (OF_CHILD, child.0));
        let rows: Vec<Row> = on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(child).bind(after).bind(limit).fetch_all(c))?;
        rows.into_iter().map(FeedOperation::try_from).collect()
    }

    /// The operation of this ente with this receipt number.
    pub async fn operation_by_receipt(&mut self, ente: EnteId, receipt: &str) -> Result<Option<FeedOperation>, StoreError> {
        const SQL: &str = "SELECT child_id, id, channel, at, choice, until_day, reason, day, receipt, actor, call_id, note, late
            FROM operation WHERE ente_id = $1 AND receipt = $2";
        let row: Option<Row> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(receipt).fetch_optional(c))?;
        row.map(FeedOperation::try_from).transpose()
    }
}
