//! What families ask and are answered.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{StoreError, Tx, on, run};
use crate::canteen::{ChildId, EnteId, roster::fold};

/// Words of one text by which a ticket is found; further ones are not looked for.
const MOST_WORDS: usize = 100;
/// Typed words that are looked at.
const MOST_TYPED: usize = 6;

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TicketRow {
    /// Row; its number for people.
    pub id: i64,
    /// Grows with each change and each message.
    pub version: i64,
    /// Where it came in: `office`, `portal`, `api`.
    pub origin: String,
    /// What it is about, the database's word.
    pub topic: String,
    /// One line.
    pub title: String,
    /// The child it is about.
    pub child_id: Option<i64>,
    /// Its name.
    pub child: Option<String>,
    /// The adult who asks.
    pub guardian_id: Option<i64>,
    /// Their name.
    pub guardian: Option<String>,
    /// `open`, `waiting`, `closed`.
    pub state: String,
    /// Who looks after it.
    pub assigned_id: Option<i64>,
    /// Their name.
    pub assigned: Option<String>,
    /// Who entered it.
    pub opened_by: String,
    /// When.
    pub opened_at: DateTime<Utc>,
    /// The last message.
    pub touched_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
}

/// A ticket to be entered.
#[derive(Debug, Clone, Copy)]
pub struct PutTicket<'a> {
    /// Where it came in.
    pub origin: &'a str,
    /// What it is about.
    pub topic: &'a str,
    /// One line.
    pub title: &'a str,
    /// The child it is about.
    pub child: Option<ChildId>,
    /// The adult who asks.
    pub guardian: Option<i64>,
    /// Who looks after it.
    pub assigned: Option<i64>,
    /// Who enters it.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// What of a ticket changes; the messages are apart.
#[derive(Debug, Clone, Copy)]
pub struct TicketChange<'a> {
    /// What it is about.
    pub topic: &'a str,
    /// One line.
    pub title: &'a str,
    /// `open`, `waiting`, `closed`.
    pub state: &'a str,
    /// Who looks after it.
    pub assigned: Option<i64>,
    /// When it was closed; `None` where it is not.
    pub closed_at: Option<DateTime<Utc>>,
    /// Its last message.
    pub touched_at: DateTime<Utc>,
}

/// A message to be added.
#[derive(Debug, Clone, Copy)]
pub struct PutMessage<'a> {
    /// `family`, `office`, `note`.
    pub kind: &'a str,
    /// Who writes it.
    pub author: &'a str,
    /// When.
    pub at: DateTime<Utc>,
    /// Plain text.
    pub body: &'a str,
    /// The mail that carries it.
    pub mail: Option<i64>,
}

/// A message of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TicketMessage {
    /// Its place, from 0.
    pub position: i64,
    /// `family`, `office`, `note`.
    pub kind: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Plain text.
    pub body: String,
    /// The mail that carried it.
    pub mail_id: Option<i64>,
    /// Where that went, while it is known.
    pub recipient: Option<String>,
    /// What became of it.
    pub mail_state: Option<String>,
}

/// How the list of tickets is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TicketOrder {
    /// By when they came in.
    #[default]
    Opened,
    /// By the last message.
    Touched,
}

/// Whose tickets are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketOf {
    /// This person's.
    Person(i64),
    /// Nobody's.
    Nobody,
}

/// Which tickets are listed, and how.
#[derive(Debug, Clone, Default)]
pub struct TicketFilter {
    /// Beginnings of words, all of which must fit.
    pub text: String,
    /// In this state; `None` with `unclosed` unset: in any.
    pub state: Option<&'static str>,
    /// Only those that are not closed.
    pub unclosed: bool,
    /// About this.
    pub topic: Option<&'static str>,
    /// Looked after by them.
    pub assigned: Option<TicketOf>,
    /// About this child.
    pub child: Option<ChildId>,
    /// About this adult, or a child of theirs.
    pub adult: Option<i64>,
    /// Sorted by this.
    pub order: TicketOrder,
    /// From the greatest down.
    pub descending: bool,
}

const ROW: &str = "t.id, t.version, t.origin, t.topic, t.title, t.child_id, k.last_name || ' ' || k.first_name AS child, t.guardian_id,
    g.last_name || ' ' || g.first_name AS guardian, t.state, t.assigned_id, p.name AS assigned, t.opened_by, t.opened_at, t.touched_at, t.closed_at";
const JOINS: &str =
    "LEFT JOIN child k ON k.id = t.child_id LEFT JOIN guardian g ON g.id = t.guardian_id LEFT JOIN person p ON p.id = t.assigned_id";

/// The condition of a filter, and what is bound after the ente: numbers first, then pairs that bound the typed words.
fn which(filter: &TicketFilter) -> (String, Vec<i64>, Vec<String>) {
    let mut sql = String::from("t.ente_id = $1");
    let (mut numbers, mut words) = (Vec::new(), Vec::new());
    // Words of ours only; what was typed is bound.
    if let Some(state) = filter.state {
        let _ = write!(sql, " AND t.state = '{state}'");
    } else if filter.unclosed {
        sql.push_str(" AND t.state <> 'closed'");
    }
    if let Some(topic) = filter.topic {
        let _ = write!(sql, " AND t.topic = '{topic}'");
    }
    match filter.assigned {
        Some(TicketOf::Person(id)) => {
            numbers.push(id);
            let _ = write!(sql, " AND t.assigned_id = ${}", 1 + numbers.len());
        }
        Some(TicketOf::Nobody) => sql.push_str(" AND t.assigned_id IS NULL"),
        None => {}
    }
    if let Some(child) = filter.child {
        numbers.push(child.0);
        let _ = write!(sql, " AND t.child_id = ${}", 1 + numbers.len());
    }
    if let Some(adult) = filter.adult {
        numbers.push(adult);
        let n = 1 + numbers.len();
        let _ = write!(
            sql,
            " AND (t.guardian_id = ${n} OR t.child_id IN (SELECT child_id FROM child_guardian WHERE guardian_id = ${n}
                UNION SELECT child_id FROM child_delegate WHERE guardian_id = ${n}))"
        );
    }
    for word in fold(&filter.text).split(' ').filter(|word| !word.is_empty()).take(MOST_TYPED) {
        let from = 2 + numbers.len() + words.len();
        let below = from + 1;
        let within =
            |table: &str, column: &str| format!("SELECT {column} FROM {table} WHERE ente_id = $1 AND word >= ${from} AND word < ${below}");
        let _ = write!(
            sql,
            " AND (t.id IN ({}) OR t.child_id IN ({}) OR t.guardian_id IN ({}))",
            within("ticket_word", "ticket_id"),
            within("child_word", "child_id"),
            within("guardian_word", "guardian_id")
        );
        words.push(word.to_owned());
        words.push(format!("{word}\u{10ffff}"));
    }
    (sql, numbers, words)
}

/// Binds the ente, the numbers and the words of a filter.
macro_rules! bound {
    ($query:expr, $ente:expr, $numbers:expr, $words:expr) => {{
        let mut query = $query.bind($ente);
        for number in &$numbers {
            query = query.bind(*number);
        }
        for word in &$words {
            query = query.bind(word.as_str());
        }
        query
    }};
}

impl Tx {
    /// Enters a ticket, open, without a message.
    pub async fn add_ticket(&mut self, ente: EnteId, ticket: &PutTicket<'_>) -> Result<i64, StoreError> {
        const SQL: &str =
            "INSERT INTO ticket (ente_id, version, origin, topic, title, child_id, guardian_id, state, assigned_id, opened_by, opened_at,
                touched_at)
            VALUES ($1, 1, $2, $3, $4, $5, $6, 'open', $7, $8, $9, $9) RETURNING id";
        let id = on!(&mut *self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(ticket.origin)
            .bind(ticket.topic)
            .bind(ticket.title)
            .bind(ticket.child.map(|child| child.0))
            .bind(ticket.guardian)
            .bind(ticket.assigned)
            .bind(ticket.actor)
            .bind(ticket.at)
            .fetch_one(c))?;
        self.add_ticket_words(ente, id, ticket.title).await?;
        Ok(id)
    }

    /// Changes a ticket that stands at `version`; `false` where it does not any more.
    pub async fn change_ticket(&mut self, ente: EnteId, id: i64, version: i64, change: &TicketChange<'_>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE ticket SET topic = $4, title = $5, state = $6, assigned_id = $7, closed_at = $8, touched_at = $9,
            version = version + 1 WHERE ente_id = $1 AND id = $2 AND version = $3";
        let done = run!(
            self,
            sqlx::query(SQL)
                .bind(ente.0)
                .bind(id)
                .bind(version)
                .bind(change.topic)
                .bind(change.title)
                .bind(change.state)
                .bind(change.assigned)
                .bind(change.closed_at)
                .bind(change.touched_at)
        ) > 0;
        if done {
            self.add_ticket_words(ente, id, change.title).await?;
        }
        Ok(done)
    }

    /// Adds a message; gives its place.
    pub async fn add_ticket_message(&mut self, ente: EnteId, ticket: i64, message: &PutMessage<'_>) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO ticket_message (ticket_id, position, kind, author, at, body, mail_id)
            SELECT $1, COALESCE(MAX(position) + 1, 0), $2, $3, $4, $5, $6 FROM ticket_message WHERE ticket_id = $1 RETURNING position";
        let position = on!(&mut *self, |c| sqlx::query_scalar(SQL)
            .bind(ticket)
            .bind(message.kind)
            .bind(message.author)
            .bind(message.at)
            .bind(message.body)
            .bind(message.mail)
            .fetch_one(c))?;
        self.add_ticket_words(ente, ticket, message.body).await?;
        Ok(position)
    }

    async fn add_ticket_words(&mut self, ente: EnteId, ticket: i64, text: &str) -> Result<(), StoreError> {
        const SQL: &str =
            "INSERT INTO ticket_word (ente_id, ticket_id, word) VALUES ($1, $2, $3) ON CONFLICT (ente_id, word, ticket_id) DO NOTHING";
        let folded = fold(text);
        // Keypad codes have seven digits: nobody is to be found by one.
        let is_code = |word: &str| word.len() == 7 && word.bytes().all(|b| b.is_ascii_digit());
        let mut words: Vec<&str> = folded.split(' ').filter(|word| word.chars().count() > 1 && !is_code(word)).collect();
        words.sort_unstable();
        words.dedup();
        for word in words.into_iter().take(MOST_WORDS) {
            run!(self, sqlx::query(SQL).bind(ente.0).bind(ticket).bind(word));
        }
        Ok(())
    }

    /// One ticket of an ente.
    pub async fn ticket(&mut self, ente: EnteId, id: i64) -> Result<Option<TicketRow>, StoreError> {
        let sql = AssertSqlSafe(format!("SELECT {ROW} FROM ticket t {JOINS} WHERE t.ente_id = $1 AND t.id = $2"));
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// Its messages, the first ones first.
    pub async fn ticket_messages(&mut self, ticket: i64) -> Result<Vec<TicketMessage>, StoreError> {
        const SQL: &str = "SELECT m.position, m.kind, m.author, m.at, m.body, m.mail_id, l.recipient, l.state AS mail_state
            FROM ticket_message m LEFT JOIN mail l ON l.id = m.mail_id WHERE m.ticket_id = $1 ORDER BY m.position";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ticket).fetch_all(c))?)
    }

    /// A page of the tickets, and how many there are.
    pub async fn list_tickets(
        &mut self,
        ente: EnteId,
        filter: &TicketFilter,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<TicketRow>, i64), StoreError> {
        let (wanted, numbers, words) = which(filter);
        let column = match filter.order {
            TicketOrder::Opened => "opened_at",
            TicketOrder::Touched => "touched_at",
        };
        let way = if filter.descending { "DESC" } else { "ASC" };
        let n = 1 + numbers.len() + words.len();
        let rows = format!(
            "SELECT {ROW} FROM (SELECT t.id FROM ticket t WHERE {wanted} ORDER BY t.{column} {way}, t.id {way} LIMIT ${} OFFSET ${}) few
            JOIN ticket t ON t.id = few.id {JOINS} ORDER BY t.{column} {way}, t.id {way}",
            n + 1,
            n + 2
        );
        let count = format!("SELECT COUNT(*) FROM ticket t WHERE {wanted}");
        let rows = on!(&mut *self, |c| bound!(sqlx::query_as(AssertSqlSafe(rows.as_str())), ente.0, numbers, words)
            .bind(limit)
            .bind(offset)
            .fetch_all(c))?;
        let count = on!(self, |c| bound!(sqlx::query_scalar(AssertSqlSafe(count.as_str())), ente.0, numbers, words).fetch_one(c))?;
        Ok((rows, count))
    }

    /// How many tickets wait for the office, and how many of them for this person or for nobody in particular.
    pub async fn open_tickets(&mut self, ente: EnteId, person: Option<i64>) -> Result<(i64, i64), StoreError> {
        const SQL: &str = "SELECT COUNT(*), COUNT(CASE WHEN assigned_id IS NULL OR assigned_id = $2 THEN 1 END) FROM ticket
            WHERE ente_id = $1 AND state = 'open'";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(person.unwrap_or(0)).fetch_one(c))?)
    }

    /// Has a child tickets?
    pub async fn has_tickets(&mut self, child: ChildId) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM ticket WHERE child_id = $1)";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(child.0).fetch_one(c))?)
    }

    /// Deletes tickets that were closed before `before`, at most `limit` of them.
    pub async fn forget_tickets(&mut self, ente: EnteId, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
        const OLD: &str =
            "SELECT id FROM ticket WHERE ente_id = $1 AND state = 'closed' AND closed_at < $2 ORDER BY closed_at, id LIMIT $3";
        let parts = ["ticket_message", "ticket_word"].map(|table| format!("DELETE FROM {table} WHERE ticket_id IN ({OLD})"));
        for sql in parts {
            run!(self, sqlx::query(AssertSqlSafe(sql)).bind(ente.0).bind(before).bind(limit));
        }
        let sql = AssertSqlSafe(format!("DELETE FROM ticket WHERE id IN ({OLD})"));
        Ok(run!(self, sqlx::query(sql).bind(ente.0).bind(before).bind(limit)))
    }

    /// Deletes all tickets about a child, when it is forgotten.
    pub(super) async fn forget_tickets_of_child(&mut self, child: ChildId) -> Result<(), StoreError> {
        self.forget_tickets_where("child_id", child.0).await
    }

    /// Deletes all tickets of an adult, when they are forgotten.
    pub(super) async fn forget_tickets_of_adult(&mut self, adult: i64) -> Result<(), StoreError> {
        self.forget_tickets_where("guardian_id", adult).await
    }

    async fn forget_tickets_where(&mut self, column: &'static str, id: i64) -> Result<(), StoreError> {
        let those = format!("SELECT id FROM ticket WHERE {column} = $1");
        for sql in [
            format!("DELETE FROM ticket_message WHERE ticket_id IN ({those})"),
            format!("DELETE FROM ticket_word WHERE ticket_id IN ({those})"),
            format!("DELETE FROM ticket WHERE {column} = $1"),
        ] {
            run!(self, sqlx::query(AssertSqlSafe(sql)).bind(id));
        }
        Ok(())
    }
}
