//! A few families in two schools, for whoever writes to them.

use voceguida::{
    canteen::{
        EnteId,
        roster::{CalendarRows, ChildRow, ClassRow, GuardianRow, Guardianship, NORMAL_DIET, Roster, SchoolRow, TermRow},
    },
    desk::Desk,
    store::{ChildFilter, Order, Page},
};

use super::day;

/// Primary school with 1A (Ada's Leo) and 2B (Ada's Mia), nursery with Sole (Nina's Ugo, whose second guardian has Ada's address in capitals, and Ivo, whom no
/// mail reaches). Names would be markup.
pub fn roster() -> Roster {
    let guardian = |last: &str, first: &str, email: Option<&str>| GuardianRow {
        last_name: last.into(),
        first_name: first.into(),
        email: email.map(Into::into),
        fiscal_code: None,
        phone: Some("3331234567".into()),
    };
    let child = |number: &str, last: &str, first: &str, school: &str, class: &str, guardians: &[usize]| ChildRow {
        origin: None,
        external_id: Some(number.into()),
        last_name: last.into(),
        first_name: first.into(),
        fiscal_code: None,
        school: school.into(),
        class: class.into(),
        diet: NORMAL_DIET.into(),
        code: None,
        enrolled_from: None,
        enrolled_to: None,
        guardians: guardians.iter().map(|n| Guardianship { guardian: *n, payer: *n == guardians[0] }).collect(),
    };
    let class = |school: &str, name: &str| ClassRow {
        school: school.into(),
        name: name.into(),
        weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
    };
    Roster {
        schools: vec![
            SchoolRow { code: "PRIM".into(), name: "Scuola primaria *Verdi*".into() },
            SchoolRow { code: "INF".into(), name: "Infanzia".into() },
        ],
        classes: vec![class("PRIM", "1A"), class("PRIM", "2B"), class("INF", "Sole")],
        guardians: vec![
            guardian("Rossi", "Ada", Some("ada@famiglia.example")),
            guardian("Neri", "Nina", Some("nina@famiglia.example")),
            guardian("Neri", "Aldo", Some("ADA@famiglia.example")),
            guardian("Gallo", "Ivana", None),
        ],
        children: vec![
            child("F1", "<b>Rossi</b>", "Leo", "PRIM", "1A", &[0]),
            child("F2", "<b>Rossi</b>", "Mia", "PRIM", "2B", &[0]),
            child("F3", "Neri", "Ugo", "INF", "Sole", &[1, 2]),
            child("F4", "Gallo", "Ivo", "INF", "Sole", &[3]),
        ],
        calendar: CalendarRows {
            school_year: Some("2026/2027".into()),
            terms: vec![TermRow { school: None, first: day("2026-09-14"), last: day("2027-06-08") }],
            closures: vec![],
        },
    }
}

/// The row of the child so called.
pub async fn child(desk: &Desk, ente: EnteId, name: &str) -> i64 {
    let filter = ChildFilter { text: name.into(), ..ChildFilter::default() };
    let part = Page { offset: 0, limit: 2, descending: false };
    let (found, _) = desk.list_children(ente, &filter, Order::Name, part).await.unwrap();
    assert_eq!(found.len(), 1, "{name}");
    found[0].id
}

/// The row of the adult so called.
pub async fn adult(desk: &Desk, ente: EnteId, name: &str) -> i64 {
    let (found, _) = desk.list_adults(ente, name, Page { offset: 0, limit: 2, descending: false }).await.unwrap();
    assert_eq!(found.len(), 1, "{name}");
    found[0].id
}
