//! Finding children and families among tens of thousands as one types (O2).
//!
//! Whatever they are found by is kept as folded words (no accents, small letters) in tables of its own; a typed part is a range of
//! an index, the same on both databases. Class and school are words of the class, so that moving a class writes none of them.

use std::fmt::Write as _;

use chrono::NaiveDate;
use sqlx::AssertSqlSafe;

use super::{ChildState, StoreError, Tx, on, people::AdultState, run};
use crate::canteen::{ChildId, EnteId, roster::fold};

/// Typed words that are looked at; more would narrow nothing down.
const MOST_WORDS: usize = 6;
/// Words written by one statement; a row with fewer repeats its last.
const SLOTS: usize = 12;

/// What lists are sorted by.
pub(super) fn sort_name(last_name: &str, first_name: &str) -> String {
    format!("{} {}", fold(last_name), fold(first_name))
}

/// A name's words, and the name as one word where it has several: "D'Angelo" is found by "angelo" and by "dangelo".
fn words_of(words: &mut Vec<String>, name: &str) {
    let folded = fold(name);
    if folded.contains(' ') {
        words.push(folded.replace(' ', ""));
    }
    words.extend(folded.split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
}

/// In which order a list is shown; each has its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By surname and name.
    #[default]
    Name,
    /// By school, class, surname and name.
    Class,
    /// By diet, surname and name.
    Diet,
}

/// Which children are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChildFilter {
    /// Beginnings of words, all of which must fit.
    pub text: String,
    /// School row.
    pub school: Option<i64>,
    /// Class row.
    pub class: Option<i64>,
    /// Diet.
    pub diet: Option<String>,
    /// School year row: who left before it is not shown.
    pub year: Option<i64>,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Rows left out before it.
    pub offset: i64,
    /// Rows at most.
    pub limit: i64,
    /// From the end.
    pub descending: bool,
}

/// A child in a list.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedChild {
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
    /// School year of the class.
    pub year: String,
    /// Diet.
    pub diet: String,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
}

/// An adult in a list.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedAdult {
    /// Row.
    pub id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// How many children they answer for or are delegated for.
    pub children: i64,
}

enum Arg {
    Number(i64),
    Text(String),
}

/// A statement put together from constant parts; whatever was typed is bound.
#[derive(Default)]
struct Question {
    sql: String,
    args: Vec<Arg>,
}

impl Question {
    fn number(&mut self, number: i64) -> usize {
        self.args.push(Arg::Number(number));
        self.args.len()
    }

    fn text(&mut self, text: String) -> usize {
        self.args.push(Arg::Text(text));
        self.args.len()
    }

    /// Numbers of the arguments that bound the words beginning like this one.
    fn range(&mut self, word: &str) -> (usize, usize) {
        (self.text(word.to_owned()), self.text(format!("{word}\u{10ffff}")))
    }
}

/// Binds the arguments of a question.
macro_rules! bound {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Number(number) => query.bind(*number),
                Arg::Text(text) => query.bind(text.as_str()),
            };
        }
        query
    }};
}

fn typed_words(text: &str) -> Vec<String> {
    fold(text).split(' ').filter(|word| !word.is_empty()).take(MOST_WORDS).map(str::to_owned).collect()
}

/// Everything from `WHERE` on that says which children: of `child k`, or with `by_class` of `school_class c` and `child k`, where the classes
/// are read first. `places` says of each typed word whether a class or school is called so: only then need the classes be looked at.
fn which_children(ente: EnteId, filter: &ChildFilter, by_class: bool, places: &[bool]) -> Question {
    let mut q = Question::default();
    q.number(ente.0);
    let mut sql = String::from(if by_class {
        " WHERE k.class_id = c.id AND c.school_id IN (SELECT id FROM school WHERE ente_id = $1)"
    } else {
        " WHERE k.ente_id = $1"
    });
    let mut of_class = String::new();
    if let Some(year) = filter.year {
        let _ = write!(of_class, " AND c.school_year_id = ${}", q.number(year));
    }
    if let Some(school) = filter.school {
        let _ = write!(of_class, " AND c.school_id = ${}", q.number(school));
    }
    if by_class {
        sql.push_str(&of_class);
    } else if !of_class.is_empty() {
        let _ = write!(sql, " AND k.class_id IN (SELECT c.id FROM school_class c WHERE TRUE{of_class})");
    }
    if let Some(class) = filter.class {
        let _ = write!(sql, " AND k.class_id = ${}", q.number(class));
    }
    if let Some(diet) = &filter.diet {
        let _ = write!(sql, " AND k.diet = ${}", q.text(diet.clone()));
    }
    for (n, word) in typed_words(&filter.text).iter().enumerate() {
        let (from, below) = q.range(word);
        let own = format!("k.id IN (SELECT child_id FROM child_word WHERE ente_id = $1 AND word >= ${from} AND word < ${below})");
        if places.get(n).copied().unwrap_or(true) {
            let _ = write!(
                sql,
                " AND ({own} OR k.class_id IN (SELECT class_id FROM class_word WHERE ente_id = $1 AND word >= ${from} AND word < ${below}))"
            );
        } else {
            let _ = write!(sql, " AND {own}");
        }
    }
    q.sql = sql;
    q
}

/// The statement of a list of children: a page of rows from an index alone, then what is shown of them.
fn list_children(ente: EnteId, filter: &ChildFilter, order: Order, page: Page, places: &[bool]) -> Question {
    let mut q = which_children(ente, filter, order == Order::Class, places);
    let down = if page.descending { " DESC" } else { "" };
    // With CROSS JOIN SQLite reads the tables in this order, that of the index which the list is sorted by.
    let (from, order) = match order {
        Order::Name => ("child k", format!("k.sort_name{down}, k.id{down}")),
        Order::Diet => ("child k", format!("k.diet{down}, k.sort_name{down}, k.id{down}")),
        Order::Class => ("school_class c CROSS JOIN child k", format!("c.sort_name{down}, c.id{down}, k.sort_name{down}, k.id{down}")),
    };
    let (limit, offset) = (q.number(page.limit), q.number(page.offset));
    q.sql = format!(
        "SELECT k.id, k.last_name, k.first_name, s.name AS school, c.name AS class, y.name AS year, k.diet, k.enrolled_last
            FROM (SELECT k.id FROM {from}{} ORDER BY {order} LIMIT ${limit} OFFSET ${offset}) p
            JOIN child k ON k.id = p.id JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id
            JOIN school_year y ON y.id = c.school_year_id ORDER BY {order}",
        q.sql
    );
    q
}

fn which_adults(ente: EnteId, text: &str) -> Question {
    let mut q = Question::default();
    q.number(ente.0);
    let mut sql = String::from(" FROM guardian g WHERE g.ente_id = $1");
    for word in typed_words(text) {
        let (from, below) = q.range(&word);
        let _ =
            write!(sql, " AND g.id IN (SELECT guardian_id FROM guardian_word WHERE ente_id = $1 AND word >= ${from} AND word < ${below})");
    }
    q.sql = sql;
    q
}

impl Tx {
    /// A part of the list of children.
    pub async fn list_children(
        &mut self,
        ente: EnteId,
        filter: &ChildFilter,
        order: Order,
        page: Page,
    ) -> Result<Vec<ListedChild>, StoreError> {
        let places = self.words_of_places(ente, filter).await?;
        let Question { sql, args } = list_children(ente, filter, order, page, &places);
        Ok(on!(self, |c| bound!(sqlx::query_as(AssertSqlSafe(sql.as_str())), &args).fetch_all(c))?)
    }

    /// One child of this ente as lists show it.
    pub async fn listed_child(&mut self, ente: EnteId, child: ChildId) -> Result<Option<ListedChild>, StoreError> {
        const SQL: &str = "SELECT k.id, k.last_name, k.first_name, s.name AS school, c.name AS class, y.name AS year, k.diet, k.enrolled_last
            FROM child k JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id JOIN school_year y ON y.id = c.school_year_id
            WHERE k.id = $1 AND k.ente_id = $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(child.0).bind(ente.0).fetch_optional(c))?)
    }

    /// Which of the typed words a class or school of this ente is called by.
    async fn words_of_places(&mut self, ente: EnteId, filter: &ChildFilter) -> Result<Vec<bool>, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM class_word WHERE ente_id = $1 AND word >= $2 AND word < $3)";
        let mut places = Vec::new();
        for word in typed_words(&filter.text) {
            let below = format!("{word}\u{10ffff}");
            places.push(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(&word).bind(&below).fetch_one(c))?);
        }
        Ok(places)
    }

    /// How many children the filter leaves.
    pub async fn count_children(&mut self, ente: EnteId, filter: &ChildFilter) -> Result<i64, StoreError> {
        let places = self.words_of_places(ente, filter).await?;
        // By classes an index alone has all that is counted.
        let by_class = filter.text.is_empty() && filter.diet.is_none();
        let Question { sql, args } = which_children(ente, filter, by_class, &places);
        let from = if by_class { "school_class c CROSS JOIN child k" } else { "child k" };
        let sql = format!("SELECT COUNT(*) FROM {from}{sql}");
        Ok(on!(self, |c| bound!(sqlx::query_scalar(AssertSqlSafe(sql.as_str())), &args).fetch_one(c))?)
    }

    /// How the database goes about a list, for the test that it uses the indexes.
    pub async fn plan_of_children(
        &mut self,
        ente: EnteId,
        filter: &ChildFilter,
        order: Order,
        page: Page,
    ) -> Result<Vec<String>, StoreError> {
        let places = self.words_of_places(ente, filter).await?;
        let Question { sql, args } = list_children(ente, filter, order, page, &places);
        self.plan_of(&sql, &args).await
    }

    async fn plan_of(&mut self, sql: &str, args: &[Arg]) -> Result<Vec<String>, StoreError> {
        use sqlx::Row as _;
        match self {
            Self::Sqlite(tx) => {
                let sql = format!("EXPLAIN QUERY PLAN {sql}");
                let rows = bound!(sqlx::query(AssertSqlSafe(sql.as_str())), args).fetch_all(&mut **tx).await?;
                Ok(rows.iter().map(|row| row.try_get("detail")).collect::<Result<_, _>>()?)
            }
            Self::Postgres(tx) => {
                let sql = format!("EXPLAIN {sql}");
                Ok(bound!(sqlx::query_scalar(AssertSqlSafe(sql.as_str())), args).fetch_all(&mut **tx).await?)
            }
        }
    }

    /// A part of the list of adults, by name.
    pub async fn list_adults(&mut self, ente: EnteId, text: &str, page: Page) -> Result<Vec<ListedAdult>, StoreError> {
        let mut q = which_adults(ente, text);
        let (limit, offset) = (q.number(page.limit), q.number(page.offset));
        let down = if page.descending { " DESC" } else { "" };
        let sql = format!(
            "SELECT g.id, g.last_name, g.first_name, g.email, g.phone,
                (SELECT COUNT(*) FROM child_guardian l WHERE l.guardian_id = g.id)
                    + (SELECT COUNT(*) FROM child_delegate d WHERE d.guardian_id = g.id) AS children
                {} ORDER BY g.sort_name{down}, g.id{down} LIMIT ${limit} OFFSET ${offset}",
            q.sql
        );
        Ok(on!(self, |c| bound!(sqlx::query_as(AssertSqlSafe(sql.as_str())), &q.args).fetch_all(c))?)
    }

    /// How many adults the text leaves.
    pub async fn count_adults(&mut self, ente: EnteId, text: &str) -> Result<i64, StoreError> {
        let Question { sql, args } = which_adults(ente, text);
        let sql = format!("SELECT COUNT(*){sql}");
        Ok(on!(self, |c| bound!(sqlx::query_scalar(AssertSqlSafe(sql.as_str())), &args).fetch_one(c))?)
    }

    /// The diets that children of an ente have.
    pub async fn diets(&mut self, ente: EnteId) -> Result<Vec<String>, StoreError> {
        // A loose walk over the index: one step a diet, not one a child.
        const SQL: &str = "WITH RECURSIVE d (diet) AS (
                SELECT (SELECT MIN(diet) FROM child WHERE ente_id = $1)
                UNION ALL SELECT (SELECT MIN(k.diet) FROM child k WHERE k.ente_id = $1 AND k.diet > d.diet) FROM d WHERE d.diet IS NOT NULL
            ) SELECT diet FROM d WHERE diet IS NOT NULL";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Writes down the words by which a child is found: its own and its adults'.
    pub(super) async fn index_child(&mut self, ente: EnteId, id: ChildId, child: &ChildState) -> Result<(), StoreError> {
        const GONE: &str = "DELETE FROM child_word WHERE child_id = $1";
        const SQL: &str = "INSERT INTO child_word (ente_id, child_id, word) VALUES ($1, $2, $3), ($1, $2, $4), ($1, $2, $5), ($1, $2, $6),
            ($1, $2, $7), ($1, $2, $8), ($1, $2, $9), ($1, $2, $10), ($1, $2, $11), ($1, $2, $12), ($1, $2, $13), ($1, $2, $14)
            ON CONFLICT (ente_id, word, child_id) DO NOTHING";
        const ADULTS: &str = "SELECT last_name, first_name FROM guardian WHERE id IN
            (SELECT guardian_id FROM child_guardian WHERE child_id = $1 UNION SELECT guardian_id FROM child_delegate WHERE child_id = $1)";
        let adults: Vec<(String, String)> = on!(self, |c| sqlx::query_as(ADULTS).bind(id.0).fetch_all(c))?;
        let mut words = Vec::new();
        words_of(&mut words, &child.last_name);
        words_of(&mut words, &child.first_name);
        words_of(&mut words, child.external_ref.as_deref().unwrap_or_default());
        for (last_name, first_name) in adults {
            words_of(&mut words, &last_name);
            words_of(&mut words, &first_name);
        }
        self.put_words(GONE, SQL, ente, id.0, words).await
    }

    /// Writes down the words by which an adult is found.
    pub(super) async fn index_adult(&mut self, ente: EnteId, id: i64, adult: &AdultState) -> Result<(), StoreError> {
        const GONE: &str = "DELETE FROM guardian_word WHERE guardian_id = $1";
        const SQL: &str = "INSERT INTO guardian_word (ente_id, guardian_id, word) VALUES ($1, $2, $3), ($1, $2, $4), ($1, $2, $5),
            ($1, $2, $6), ($1, $2, $7), ($1, $2, $8), ($1, $2, $9), ($1, $2, $10), ($1, $2, $11), ($1, $2, $12), ($1, $2, $13), ($1, $2, $14)
            ON CONFLICT (ente_id, word, guardian_id) DO NOTHING";
        let mut words = Vec::new();
        words_of(&mut words, &adult.last_name);
        words_of(&mut words, &adult.first_name);
        words.extend(adult.email.as_deref().map(|email| fold(email.split('@').next().unwrap_or_default()).replace(' ', "")));
        words.extend(adult.phone.as_deref().map(|phone| phone.trim_start_matches("+39").to_owned()));
        self.put_words(GONE, SQL, ente, id, words).await
    }

    async fn put_words(
        &mut self,
        gone: &'static str,
        sql: &'static str,
        ente: EnteId,
        id: i64,
        mut words: Vec<String>,
    ) -> Result<(), StoreError> {
        words.retain(|word| !word.is_empty());
        words.sort_unstable();
        words.dedup();
        run!(self, sqlx::query(gone).bind(id));
        for some in words.chunks(SLOTS) {
            let Some(last) = some.last() else { continue };
            let mut slots = [last.as_str(); SLOTS];
            for (slot, word) in slots.iter_mut().zip(some) {
                *slot = word;
            }
            run!(self, slots.iter().fold(sqlx::query(sql).bind(ente.0).bind(id), |query, word| query.bind(*word)));
        }
        Ok(())
    }

    /// Brings up to date by what the classes of an ente are found and sorted; to be called after schools or classes were written.
    pub async fn index_classes(&mut self, ente: EnteId) -> Result<(), StoreError> {
        #[derive(sqlx::FromRow)]
        struct Row {
            id: i64,
            name: String,
            school: String,
            code: String,
            sort_name: String,
        }
        const CLASSES: &str = "SELECT c.id, c.name, s.name AS school, s.code, c.sort_name
            FROM school_class c JOIN school s ON s.id = c.school_id WHERE s.ente_id = $1";
        const NAME: &str = "UPDATE school_class SET sort_name = $2 WHERE id = $1";
        const GONE: &str = "DELETE FROM class_word WHERE class_id = $1";
        const WORD: &str =
            "INSERT INTO class_word (ente_id, class_id, word) VALUES ($1, $2, $3) ON CONFLICT (ente_id, word, class_id) DO NOTHING";
        let rows: Vec<Row> = on!(self, |c| sqlx::query_as(CLASSES).bind(ente.0).fetch_all(c))?;
        for row in rows {
            let sort_name = format!("{} {}", fold(&row.school), fold(&row.name));
            if sort_name == row.sort_name {
                continue;
            }
            run!(self, sqlx::query(NAME).bind(row.id).bind(&sort_name));
            let mut words = Vec::new();
            for name in [&row.name, &row.school, &row.code] {
                words_of(&mut words, name);
            }
            run!(self, sqlx::query(GONE).bind(row.id));
            for word in words {
                run!(self, sqlx::query(WORD).bind(ente.0).bind(row.id).bind(word));
            }
        }
        Ok(())
    }

    /// Has an older version of the program, or anyone past it, written what is not indexed?
    pub(super) async fn is_index_missing(&mut self) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM child WHERE sort_name = '') OR EXISTS (SELECT 1 FROM guardian WHERE sort_name = '')
            OR EXISTS (SELECT 1 FROM school_class WHERE sort_name = '')";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).fetch_one(c))?)
    }

    /// Indexes what an older version of the program has written, or anyone past it.
    pub(super) async fn index_missing(&mut self) -> Result<(), StoreError> {
        const CHILDREN: &str = "SELECT ente_id, id FROM child WHERE sort_name = ''";
        const ADULTS: &str = "SELECT ente_id, id FROM guardian WHERE sort_name = ''";
        const CLASSES: &str = "SELECT DISTINCT s.ente_id FROM school_class c JOIN school s ON s.id = c.school_id WHERE c.sort_name = ''";
        const CHILD_NAME: &str = "UPDATE child SET sort_name = $2 WHERE id = $1";
        const ADULT_NAME: &str = "UPDATE guardian SET sort_name = $2 WHERE id = $1";
        let children: Vec<(i64, i64)> = on!(self, |c| sqlx::query_as(CHILDREN).fetch_all(c))?;
        for (ente, id) in children {
            if let Some(found) = self.child_state(EnteId(ente), ChildId(id)).await? {
                run!(self, sqlx::query(CHILD_NAME).bind(id).bind(sort_name(&found.state.last_name, &found.state.first_name)));
                self.index_child(EnteId(ente), ChildId(id), &found.state).await?;
            }
        }
        let adults: Vec<(i64, i64)> = on!(self, |c| sqlx::query_as(ADULTS).fetch_all(c))?;
        for (ente, id) in adults {
            if let Some(found) = self.adult_state(EnteId(ente), id).await? {
                run!(self, sqlx::query(ADULT_NAME).bind(id).bind(sort_name(&found.state.last_name, &found.state.first_name)));
                self.index_adult(EnteId(ente), id, &found.state).await?;
            }
        }
        let enti: Vec<i64> = on!(self, |c| sqlx::query_scalar(CLASSES).fetch_all(c))?;
        for ente in enti {
            self.index_classes(EnteId(ente)).await?;
        }
        Ok(())
    }
}
