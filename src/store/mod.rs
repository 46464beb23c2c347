//! The database: sqlx only, a file per aggregate, both databases (design §4).
//!
//! Each query is one SQL text. The macro `on!` expands it over the SQLite and over the PostgreSQL
//! connection of a [`Tx`], so there is one place for each question and both databases answer it.

mod account;
mod archive;
mod balance;
mod batch;
mod calendar;
mod call;
mod canned;
mod child;
mod correction;
mod ente;
mod feed;
mod guard;
mod kitchen;
mod letter;
mod mail;
mod meal;
mod news;
mod notice;
mod operation;
mod passkey;
mod people;
mod person;
mod recording;
mod retention;
mod roster;
mod search;
mod session;
mod settings;
mod tariff;
mod ticket;
mod token;
mod traffic;
mod trail;

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{
    Connection as _, PgPool, Postgres, Sqlite, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use self::{
    account::{BilledAdult, BilledChild, CountedClass, StandingClosure},
    archive::{ArchivedAdult, ArchivedChild, ArchivedMeal, ArchivedMessage, ArchivedOperation, Span},
    batch::{BatchEntry, BatchRow, ClassSize, KnownClosure, KnownTerm},
    calendar::ClosureRow,
    calendar::weekdays_to_bits,
    call::{CallFilter, CallMore, CallOperation, CallRow, CallSort, ListedCall},
    canned::CannedRow,
    child::{ChildRow, EnrolledChild},
    correction::{Correction, MealNow, MealSum, NewCorrection, Pupil, StandingRow},
    ente::Ente,
    feed::{FeedChild, FeedOperation},
    guard::{GuessCounts, WrongCaller},
    kitchen::{ChannelCount, KitchenRecipient, Moment},
    letter::{Addressees, LetterChild, LetterClass, LetterGuardian, LetterRow},
    mail::{Attachment, DueMail, MailFilter, MailOrder, MailRow, PutMail},
    meal::{HeadCount, NewMeal, SchoolToClose},
    news::{Decision, FamilyNews, NewsFilter, NewsKind, NewsOrder, NewsReader, NewsRow, NewsTarget, PutNews, Reach},
    notice::{NewNotice, NoticeLineRow, NoticeRow, OutcomeRow, RunRow},
    operation::{ChildCall, NewOperation, StoredOperation, Verdict},
    passkey::PasskeyRow,
    people::{AdultState, ChildState, Versioned},
    person::{NewPerson, PersonRow, PersonSecrets},
    recording::{NewRecording, RecordingRow, VoiceRow},
    roster::{ClassKey, SchoolKey, SchoolYearRow},
    search::{ChildFilter, ListedAdult, ListedChild, Order, Page},
    session::{FailureCounts, NewSession, SessionRow},
    settings::{PutWindowChange, SettingsRow, WindowChangeRow},
    tariff::{Entered, ResidenceChange},
    ticket::{PutMessage, PutTicket, TicketChange, TicketFilter, TicketMessage, TicketOf, TicketOrder, TicketRow},
    token::{NewToken, TokenRow},
    traffic::{CountedPlan, NewCount, PlanText, Traffic},
    trail::{NewTrailLine, TrailAsked, TrailRow, TrailSort},
};
use crate::ops::clock::{Clock, to_micros};

/// Runs one query on whichever database `$tx` is of; `$conn` is the executor.
macro_rules! on {
    ($tx:expr, |$conn:ident| $query:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $query.await
            }
            $crate::store::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $query.await
            }
        }
    };
}
use on;

/// Executes one statement on whichever database `$tx` is of, and gives the number of rows it touched.
macro_rules! run {
    ($tx:expr, $query:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => $query.execute(&mut **tx).await?.rows_affected(),
            $crate::store::Tx::Postgres(tx) => $query.execute(&mut **tx).await?.rows_affected(),
        }
    };
}
use run;

/// What stands on day `$2` for children `k`, in SQL: suspended before marked, as [`crate::canteen::marks::Marks::state_on`] has it; and who is enrolled.
macro_rules! standing {
    ("state") => {
        "CASE WHEN p.child_id IS NOT NULL THEN 'suspended' WHEN m.kind IS NOT NULL THEN m.kind ELSE 'served' END AS state"
    };
    ("from") => {
        "LEFT JOIN mark m ON m.child_id = k.id AND m.day = $2
            LEFT JOIN (SELECT DISTINCT child_id FROM suspension WHERE first_day <= $2 AND (last_day IS NULL OR last_day >= $2)) p
                ON p.child_id = k.id"
    };
    ("enrolled") => {
        "(k.enrolled_first IS NULL OR k.enrolled_first <= $2) AND (k.enrolled_last IS NULL OR k.enrolled_last >= $2)"
    };
}
use standing;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, broke or could not be reached.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The URL names no database that we know.
    #[error("\"{0}\" is no database URL: use sqlite:FILE or postgres://…")]
    Url(String),
    /// A stored value that the program does not know: a newer version wrote it, or a hand.
    #[error("the database holds an unknown {what}: {value}")]
    Unknown {
        /// The column.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

impl StoreError {
    /// Is this a violated UNIQUE constraint?
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(e)) if e.is_unique_violation())
    }

    /// Will the same statement fail again, because of what it holds? Everything else may be over in a while.
    pub fn is_lasting(&self) -> bool {
        match self {
            // A broken constraint; PostgreSQL's "data exception" (SQLSTATE 22), e.g. a text that it cannot hold.
            Self::Sql(sqlx::Error::Database(e)) => {
                let other = matches!(e.kind(), sqlx::error::ErrorKind::Other);
                !other || e.code().is_some_and(|code| code.len() == 5 && code.starts_with("22"))
            }
            Self::Sql(sqlx::Error::Encode(_) | sqlx::Error::Decode(_)) | Self::Unknown { .. } => true,
            _ => false,
        }
    }
}

/// How long a transaction waits for a connection or for SQLite's writer before it gives up: a
/// parent is on the line meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);
/// Readers of the embedded database; there is always one writer.
const SQLITE_READERS: u32 = 4;
/// Connections of one node to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 16;

/// For how long a connection counts as alive after it was used.
const FRESH: Duration = Duration::from_millis(100);

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Db {
    /// Embedded: one writer, a few readers, WAL.
    Sqlite {
        /// The one connection that writes.
        writer: SqlitePool,
        /// Connections that only read.
        readers: SqlitePool,
    },
    /// Shared by several nodes.
    Postgres(PgPool),
}

/// A transaction on either database; rolled back when dropped without [`Tx::commit`].
#[derive(Debug)]
pub enum Tx {
    /// Embedded.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// Shared.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Db {
    /// Opens `sqlite:FILE` (created where missing) or `postgres://…` and brings the schema up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let db = Self::connect(url).await?;
        if db.read().await?.is_index_missing().await? {
            let mut tx = db.write().await?;
            tx.index_missing().await?;
            tx.commit().await?;
        }
        Ok(db)
    }

    async fn connect(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            Self::open_sqlite(url).await
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)?.application_name("voceguida");
            let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(PATIENCE);
            // A connection that has just been of use is not asked whether it lives: under load that were a question for every answer.
            let pool = pool.test_before_acquire(false).before_acquire(|connection, of| {
                Box::pin(async move {
                    if of.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            });
            let pool = pool.connect_with(options).await?;
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
            Ok(Self::Postgres(pool))
        } else {
            // Never the whole URL: it may carry a password.
            Err(StoreError::Url(url.split([':', '@']).next().unwrap_or_default().to_owned()))
        }
    }

    async fn open_sqlite(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: what a caller has heard as registered survives a power cut (S3).
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let pool = |n: u32, options| SqlitePoolOptions::new().max_connections(n).acquire_timeout(PATIENCE).connect_with(options);
        let writer = pool(1, options.clone()).await?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await?;
        let readers = pool(SQLITE_READERS, options.pragma("query_only", "ON")).await?;
        Ok(Self::Sqlite { writer, readers })
    }

    /// Begins a transaction that will write. On SQLite it takes the writer's lock at once, so that
    /// nothing read in it can go stale before it commits.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Begins a transaction that only reads.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            // One picture for all the questions of the transaction, as SQLite gives it.
            Self::Postgres(pool) => Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?),
        })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes what was written durable. Until this returns `Ok`, nothing may be called registered.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// The instant at which this transaction judges (R7). Several nodes share one clock, the
    /// database's; the embedded database has its process's. Ask after taking the locks.
    pub async fn instant(&mut self, clock: &Clock) -> Result<DateTime<Utc>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(clock.now()),
            Self::Postgres(tx) => {
                let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut **tx).await?;
                Ok(to_micros(clock.shift(now)))
            }
        }
    }

    /// Holds the ente's day open while an operation on it is under way: a closing of the day waits
    /// for it, and an operation that comes later is judged after the closing. SQLite's one writer
    /// does that by itself.
    pub async fn hold_day_open(&mut self, ente: i64) -> Result<(), StoreError> {
        self.advisory_lock("SELECT pg_advisory_xact_lock_shared($1, $2)", LOCK_DAY, ente).await
    }

    /// Waits for all operations under way and keeps new ones out until commit.
    pub async fn shut_day(&mut self, ente: i64) -> Result<(), StoreError> {
        self.advisory_lock("SELECT pg_advisory_xact_lock($1, $2)", LOCK_DAY, ente).await
    }

    /// Lets one wrong code at a time be counted, so that a thousand sources together cannot slip
    /// past a limit that each of them saw as not yet reached (S4).
    pub async fn count_alone(&mut self, ente: i64) -> Result<(), StoreError> {
        self.advisory_lock("SELECT pg_advisory_xact_lock($1, $2)", LOCK_GUARD, ente).await
    }

    /// The same for what one caller types.
    pub async fn caller_alone(&mut self, ente: i64, caller: &str) -> Result<(), StoreError> {
        if let Self::Postgres(tx) = self {
            // Two callers of one hash would only wait for each other needlessly.
            const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, $2))";
            sqlx::query(SQL).bind(caller).bind(ente).execute(&mut **tx).await?;
        }
        Ok(())
    }

    async fn advisory_lock(&mut self, sql: &'static str, space: i32, ente: i64) -> Result<(), StoreError> {
        if let Self::Postgres(tx) = self {
            // Two enti whose numbers differ by 2^32 would only wait for each other needlessly.
            sqlx::query(sql).bind(space).bind(ente as i32).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// Advisory lock spaces.
const LOCK_DAY: i32 = 1;
const LOCK_GUARD: i32 = 2;
const LOCK_BILLING: i32 = 11;
