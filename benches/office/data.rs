//! A large comune: 20,000 children in 40 schools, two years of operations (two million) and the last months' meals.
//!
//! Children and families go through the desk's own import; operations and meals are multiplied by the database itself, in seconds.

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};
use sqlx::AssertSqlSafe;
use voceguida::{
    canteen::{
        EnteId,
        demo::{BOYS, GIRLS, SURNAMES},
        roster::{CalendarRows, ChildRow, ClassRow, GuardianRow, Guardianship, KNOWN_DIETS, Roster, SchoolRow, TermRow},
        window::Window,
    },
    desk::Desk,
    store::Db,
};

pub const CHILDREN: usize = 20_000;
const SCHOOLS: usize = 40;
const CLASSES: usize = 20;
/// Operations of a child.
const OPERATIONS: usize = 100;
/// Days with meals.
const MEAL_DAYS: usize = 60;

fn of<'a>(list: &'a [&'a str], n: usize) -> &'a str {
    list.get(n % list.len()).copied().unwrap_or_default()
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}

fn roster(children: usize) -> Roster {
    let school = |n: usize| format!("SCU-{n:02}");
    let class = |n: usize| format!("{}{}", n % 5 + 1, char::from(b'A' + (n / 5 % 26) as u8));
    let weekdays = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri].into_iter().collect();
    let child = |n: usize| ChildRow {
        origin: None,
        external_id: Some(format!("M{n}")),
        last_name: of(&SURNAMES, n * 7 + n / 40).to_owned(),
        first_name: format!("{} {}", of(&GIRLS, n * 5 + n / 48), of(&BOYS, n / 3)),
        fiscal_code: None,
        school: school(n % SCHOOLS),
        class: class(n / SCHOOLS % CLASSES),
        diet: if n.is_multiple_of(12) { of(&KNOWN_DIETS, n / 12) } else { "normale" }.to_owned(),
        code: None,
        enrolled_from: None,
        enrolled_to: None,
        // Two of three families have two children here.
        guardians: vec![Guardianship { guardian: n * 2 / 3, payer: true }],
    };
    let guardian = |n: usize| GuardianRow {
        last_name: of(&SURNAMES, n * 7).to_owned(),
        first_name: of(&BOYS, n * 11 + n / 7).to_owned(),
        fiscal_code: None,
        email: Some(format!("genitore{n}@posta.example")),
        phone: Some(format!("333{n:07}")),
    };
    Roster {
        schools: (0..SCHOOLS).map(|n| SchoolRow { code: school(n), name: format!("Scuola primaria di Borgo {n}") }).collect(),
        classes: (0..SCHOOLS * CLASSES).map(|n| ClassRow { school: school(n % SCHOOLS), name: class(n / SCHOOLS), weekdays }).collect(),
        guardians: (0..children.div_ceil(3) * 2).map(guardian).collect(),
        children: (0..children).map(child).collect(),
        calendar: CalendarRows {
            school_year: Some("2026/2027".into()),
            terms: vec![TermRow { school: None, first: day(2026, 9, 14), last: day(2027, 6, 8) }],
            closures: vec![],
        },
    }
}

/// Runs a statement with these values on whichever database it is.
macro_rules! run {
    ($db:expr, $sql:expr $(, $value:expr)*) => {
        match $db {
            Db::Sqlite { writer, .. } => { sqlx::query(AssertSqlSafe($sql)) $(.bind($value))* .execute(writer).await?; }
            Db::Postgres(pool) => { sqlx::query(AssertSqlSafe($sql)) $(.bind($value))* .execute(pool).await?; }
        }
    };
}

/// Enrols so many children in an empty database, two for every three of them sharing one who pays; gives the ente.
pub async fn enrol(desk: &Desk, children: usize) -> anyhow::Result<EnteId> {
    let ente = desk.put_ente("grande", "Comune di Borgo Grande", Some("0182970000"), &Window::default()).await?;
    desk.import(ente, &roster(children)).await?;
    Ok(ente)
}

/// Fills an empty database; gives the ente.
pub async fn fill(desk: &Desk) -> anyhow::Result<EnteId> {
    let ente = enrol(desk, CHILDREN).await?;
    let db = desk.db();
    // The days of two years with their instants, numbered: what is multiplied below takes its days from here.
    run!(
        db,
        "CREATE TABLE bench_day (n BIGINT PRIMARY KEY, day DATE NOT NULL, at TIMESTAMP NOT NULL)".replace("TIMESTAMP", instant_type(db))
    );
    let mut number = 0i64;
    let mut date = day(2027, 1, 29);
    while number < 340 {
        if date.weekday().num_days_from_monday() < 5 {
            let at: DateTime<Utc> = date.and_hms_opt(6, 30, 0).unwrap_or_default().and_utc();
            run!(db, "INSERT INTO bench_day (n, day, at) VALUES ($1, $2, $3)".to_owned(), number, date, at);
            number += 1;
        }
        date = date.checked_sub_days(Days::new(1)).unwrap_or(date);
    }
    run!(
        db,
        format!(
            "WITH RECURSIVE i (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM i WHERE n < {OPERATIONS} - 1)
            INSERT INTO operation (ente_id, child_id, channel, actor, call_id, idempotency_key, at, choice, decision, reason, day, receipt)
            SELECT k.ente_id, k.id, 'phone', '+393331234567', NULL, 'b' || k.id || '-' || i.n, d.at, 'cancel',
                CASE WHEN i.n % 10 = 0 THEN 'refused' ELSE 'accepted' END, CASE WHEN i.n % 10 = 0 THEN 'already_cancelled' END, d.day,
                '9' || k.id || '00' || i.n
            FROM i JOIN bench_day d ON d.n = 3 * i.n CROSS JOIN child k"
        )
    );
    run!(
        db,
        format!(
            "INSERT INTO meal (child_id, day, school_id, class_id, diet, state)
            SELECT k.id, d.day, c.school_id, k.class_id, k.diet, CASE WHEN (k.id + d.n) % 9 = 0 THEN 'cancelled' ELSE 'served' END
            FROM child k JOIN school_class c ON c.id = k.class_id CROSS JOIN bench_day d WHERE d.n < {MEAL_DAYS}"
        )
    );
    // A ticket for every second child, one of a hundred not closed; a news item for each of the classes.
    run!(
        db,
        "INSERT INTO ticket (ente_id, version, origin, topic, title, child_id, state, opened_by, opened_at, touched_at, closed_at)
            SELECT k.ente_id, 1, 'office', CASE WHEN k.id % 3 = 0 THEN 'diet' ELSE 'meals' END, 'Dieta di ' || k.last_name, k.id,
                CASE WHEN k.id % 100 = 0 THEN 'open' ELSE 'closed' END, 'anna', d.at, d.at, CASE WHEN k.id % 100 = 0 THEN NULL ELSE d.at END
            FROM child k JOIN bench_day d ON d.n = k.id % 300 WHERE k.id % 2 = 0"
            .to_owned()
    );
    run!(db, "INSERT INTO ticket_word (ente_id, word, ticket_id) SELECT ente_id, 'dieta', id FROM ticket".to_owned());
    run!(
        db,
        "INSERT INTO ticket_message (ticket_id, position, kind, author, at, body) SELECT id, 0, 'family', 'Ada', opened_at, 'Chiede' FROM ticket"
            .to_owned()
    );
    run!(
        db,
        "INSERT INTO news (ente_id, version, title, body, state, from_at, pinned, by_mail, created_by, created_at, changed_by, changed_at,
                mail_to, mailed)
            SELECT s.ente_id, 1, 'Classe ' || c.name, '**Domani** gita', 'public', d.at, FALSE, FALSE, 'anna', d.at, 'anna', d.at, 0, 0
            FROM school_class c JOIN school s ON s.id = c.school_id JOIN bench_day d ON d.n = c.id % 300"
            .to_owned()
    );
    run!(
        db,
        "INSERT INTO news_target (news_id, position, school_id, class_id)
            SELECT n.id, 0, c.school_id, c.id FROM news n JOIN school_class c ON c.id = n.id WHERE n.id > 1"
            .to_owned()
    );
    run!(db, "DROP TABLE bench_day".to_owned());
    run!(db, "ANALYZE".to_owned());
    Ok(ente)
}

fn instant_type(db: &Db) -> &'static str {
    match db {
        Db::Sqlite { .. } => "DATETIME",
        Db::Postgres(_) => "TIMESTAMPTZ",
    }
}
