//! Letters: who gets one, and which were made. Codes that were replaced.

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::{ChildId, EnteId, code::ChildCode};

/// Whose letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressees {
    /// Of the children of a school, in its latest school year.
    School(i64),
    /// Of the children of a class.
    Class(i64),
    /// Of a child; its brothers and sisters come along.
    Child(ChildId),
}

/// A child to whose family a letter goes. No `Debug`: it holds the keypad code.
#[derive(Clone, sqlx::FromRow)]
#[expect(missing_debug_implementations, reason = "holds the keypad code")]
pub struct LetterChild {
    /// Row.
    pub id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// School.
    pub school: String,
    /// Class.
    pub class: String,
    /// Keypad code.
    pub code: String,
    /// Is it itself among those asked for, or only a brother or sister of one?
    pub wanted: bool,
}

/// A guardian of such a child.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LetterGuardian {
    /// The child.
    pub child_id: i64,
    /// Row.
    pub id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// E-mail address.
    pub email: Option<String>,
}

/// A letter that was made.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LetterRow {
    /// Row.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// `paper` or `mail`.
    pub way: String,
    /// The child.
    pub child_id: i64,
    /// Its name.
    pub child: String,
    /// Its class.
    pub class: String,
    /// The address it was sent to.
    pub recipient: Option<String>,
    /// What became of the mail.
    pub state: Option<String>,
}

/// A class that letters can be made for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LetterClass {
    /// Row.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Its school's row.
    pub school_id: i64,
    /// Its school.
    pub school: String,
    /// Children in it.
    pub children: i64,
}

/// Brothers and sisters share a guardian; which of them make up a family, the desk says.
const SIBLINGS: &str = "SELECT k.id, k.last_name, k.first_name, s.name AS school, c.name AS class, k.code,
        k.id IN (WANTED) AS wanted
    FROM child k JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id
    WHERE k.ente_id = $1 AND k.forgotten_at IS NULL AND (k.enrolled_last IS NULL OR k.enrolled_last >= $3)
        AND c.school_year_id = (SELECT id FROM school_year WHERE ente_id = $1 ORDER BY name DESC LIMIT 1)
        AND (k.id IN (WANTED) OR k.id IN (SELECT b.child_id FROM child_guardian a JOIN child_guardian b ON b.guardian_id = a.guardian_id
            WHERE a.child_id IN (WANTED)))
    ORDER BY s.name, c.name, k.last_name, k.first_name, k.id LIMIT $4";

impl Tx {
    /// The children to whose families letters would go, brothers and sisters with them, at most `limit`; those who have left by
    /// `today` are left out. In the order in which a teacher hands letters out.
    pub async fn letter_children(
        &mut self,
        ente: EnteId,
        addressees: Addressees,
        today: NaiveDate,
        limit: i64,
    ) -> Result<Vec<LetterChild>, StoreError> {
        let (wanted, id) = match addressees {
            Addressees::School(id) => ("SELECT w.id FROM child w JOIN school_class wc ON wc.id = w.class_id WHERE wc.school_id = $2", id),
            Addressees::Class(id) => ("SELECT w.id FROM child w WHERE w.class_id = $2", id),
            Addressees::Child(ChildId(id)) => ("SELECT w.id FROM child w WHERE w.id = $2", id),
        };
        let sql = sqlx::AssertSqlSafe(SIBLINGS.replace("WANTED", wanted));
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(id).bind(today).bind(limit).fetch_all(c))?)
    }

    /// The guardians of these children, the first ones first.
    pub async fn letter_guardians(&mut self, children: &[i64]) -> Result<Vec<LetterGuardian>, StoreError> {
        const SQL: &str = "SELECT l.child_id, g.id, g.last_name, g.first_name, g.email
            FROM child_guardian l JOIN guardian g ON g.id = l.guardian_id WHERE l.child_id = $1 ORDER BY l.position, g.id";
        let mut all = Vec::with_capacity(children.len() * 2);
        for child in children {
            let of_child: Vec<LetterGuardian> = on!(&mut *self, |c| sqlx::query_as(SQL).bind(child).fetch_all(c))?;
            all.extend(of_child);
        }
        Ok(all)
    }

    /// The classes of the latest school year, with how many children are in each.
    pub async fn letter_classes(&mut self, ente: EnteId, today: NaiveDate) -> Result<Vec<LetterClass>, StoreError> {
        const SQL: &str = "SELECT c.id, c.name, s.id AS school_id, s.name AS school,
                (SELECT COUNT(*) FROM child k WHERE k.class_id = c.id AND k.forgotten_at IS NULL
                    AND (k.enrolled_last IS NULL OR k.enrolled_last >= $2)) AS children
            FROM school_class c JOIN school s ON s.id = c.school_id
            WHERE c.school_year_id = (SELECT id FROM school_year WHERE ente_id = $1 ORDER BY name DESC LIMIT 1)
            ORDER BY s.name, c.name";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(today).fetch_all(c))?)
    }

    /// Notes that a letter was made.
    pub async fn add_letter(
        &mut self,
        ente: EnteId,
        child: ChildId,
        at: DateTime<Utc>,
        actor: &str,
        by_mail: Option<(i64, i64)>,
    ) -> Result<(), StoreError> {
        const SQL: &str =
            "INSERT INTO letter (ente_id, child_id, at, actor, way, guardian_id, mail_id) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let way = if by_mail.is_some() { "mail" } else { "paper" };
        let (guardian, mail) = by_mail.unzip();
        run!(self, sqlx::query(SQL).bind(ente.0).bind(child.0).bind(at).bind(actor).bind(way).bind(guardian).bind(mail));
        Ok(())
    }

    /// A page of the letters that were made, newest first, of one child or of all; and how many there are.
    pub async fn letters(
        &mut self,
        ente: EnteId,
        child: Option<ChildId>,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<LetterRow>, i64), StoreError> {
        let wanted = if child.is_some() { "l.ente_id = $1 AND l.child_id = $2" } else { "l.ente_id = $1 AND $2 = 0" };
        let order = if child.is_some() { "l.id DESC" } else { "l.at DESC, l.id DESC" };
        let rows = sqlx::AssertSqlSafe(format!(
            "SELECT l.id, l.at, l.actor, l.way, k.id AS child_id, k.last_name || ' ' || k.first_name AS child, c.name AS class,
                m.recipient, m.state
            FROM letter l JOIN child k ON k.id = l.child_id JOIN school_class c ON c.id = k.class_id LEFT JOIN mail m ON m.id = l.mail_id
            WHERE {wanted} ORDER BY {order} LIMIT $3 OFFSET $4"
        ));
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM letter l WHERE {wanted}"));
        let child = child.map_or(0, |child| child.0);
        let rows = on!(&mut *self, |c| sqlx::query_as(rows).bind(ente.0).bind(child).bind(limit).bind(offset).fetch_all(c))?;
        let count = on!(self, |c| sqlx::query_scalar(count).bind(ente.0).bind(child).fetch_one(c))?;
        Ok((rows, count))
    }

    /// Has any child of the ente this code, or had one it?
    pub async fn is_code_taken(&mut self, ente: EnteId, code: &ChildCode) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT (SELECT COUNT(*) FROM child WHERE ente_id = $1 AND code = $2)
            + (SELECT COUNT(*) FROM retired_code WHERE ente_id = $1 AND code = $2)";
        let n: i64 = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(code.as_str()).fetch_one(c))?;
        Ok(n > 0)
    }

    /// Gives the child another code; the one it had is dead and goes to nobody else (a trigger keeps it in `retired_code`). Whoever has the
    /// child's form open is told, as of any change.
    pub async fn replace_code(&mut self, ente: EnteId, child: ChildId, code: &ChildCode) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE child SET code = $3, version = version + 1 WHERE id = $2 AND ente_id = $1";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(child.0).bind(code.as_str()));
        Ok(())
    }

    /// Codes that were replaced, each with the child that had it.
    pub async fn retired_codes(&mut self, ente: EnteId) -> Result<Vec<(String, i64)>, StoreError> {
        const SQL: &str = "SELECT code, child_id FROM retired_code WHERE ente_id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }
}
