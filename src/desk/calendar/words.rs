//! What a change of the calendar does, in plain Italian: what the office reads before it confirms, and what families could be told.

use chrono::NaiveDate;

use super::{Plan, place_name};
use crate::canteen::{
    book::{Book, BookClosure, ClosureKind},
    words::{date_in_words, day_in_words},
};

/// "un pasto", "3 pasti", "1.250 pasti".
fn many(n: usize, one: &str, more: &str) -> String {
    if n == 1 { one.to_owned() } else { format!("{} {more}", thousands(n)) }
}

/// With points, as Italians write numbers: "1.250".
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(".")
}

/// "martedì 20 ottobre 2026", or "da … a …".
pub fn span_in_words(first: NaiveDate, last: NaiveDate) -> String {
    if first == last { day_in_words(first) } else { format!("da {} a {}", day_in_words(first), day_in_words(last)) }
}

/// The sentences of a preview, the most important first.
pub fn in_words(plan: &Plan) -> Vec<String> {
    let mut told = Vec::new();
    let days: Vec<NaiveDate> =
        plan.days.iter().filter(|(_, e)| e.lost.children() + e.gained.children() + e.unbooked > 0).map(|(d, _)| *d).collect();
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        told.push("Non tocca nessun bambino: in quei giorni nessuno degli interessati ha la mensa.".to_owned());
        return told;
    };
    told.push(format!(
        "Tocca {} in {}: {}.",
        many(plan.children, "un bambino", "bambini"),
        many(days.len(), "un giorno di mensa", "giorni di mensa"),
        span_in_words(*first, *last)
    ));
    let totals = plan.totals();
    let unbilled = plan.unbilled();
    let not_cooked = (totals.lost.meals() as usize).saturating_sub(unbilled);
    if not_cooked > 0 {
        told.push(format!(
            "Non saranno né preparati né addebitati: {}. Le famiglie non devono disdire.",
            many(not_cooked, "un pasto", "pasti")
        ));
    }
    if unbilled > 0 {
        told.push(format!(
            "Il termine è passato e la cucina ha già il conteggio: {} già contati non saranno addebitati. Il foglio della cucina resta com'era; accanto si vede la rettifica.",
            many(unbilled, "un pasto", "pasti")
        ));
    }
    let of = |rows: &[crate::store::StandingRow], kind: &str| rows.iter().filter(|r| r.kind == kind).count();
    if !plan.falling.is_empty() {
        told.push(format!(
            "Perdono effetto {} e {} già registrati, perché non c'è mensa. Restano nel registro con la loro ricevuta e non sono spostati a un altro giorno: \
             la famiglia sa per quale giorno valevano.",
            many(of(&plan.falling, "cancelled"), "una disdetta", "disdette"),
            many(of(&plan.falling, "white"), "un pasto in bianco", "pasti in bianco"),
        ));
    }
    if totals.gained.children() > 0 {
        let billed = plan.billed();
        let booked = (totals.gained.meals() as usize).saturating_sub(billed);
        if booked > 0 {
            told.push(format!(
                "Sono di nuovo prenotati: {}. Chi non mangia può disdire fino al termine.",
                many(booked, "un pasto", "pasti")
            ));
        }
        if billed > 0 {
            told.push(format!(
                "Il termine è passato: {} saranno addebitati. Le famiglie non possono più disdire.",
                many(billed, "un pasto", "pasti")
            ));
        }
    }
    if !plan.returning.is_empty() {
        told.push(format!(
            "Tornano a valere {} e {} registrati prima della chiusura.",
            many(of(&plan.returning, "cancelled"), "una disdetta", "disdette"),
            many(of(&plan.returning, "white"), "un pasto in bianco", "pasti in bianco"),
        ));
    }
    if totals.unbooked > 0 {
        told.push(format!(
            "Il termine è passato quando la chiusura era già nota: nessuno poteva disdire e la cucina non ha contato. Perciò {} non sono prenotati e nulla è \
             addebitato. Chi mangia comunque va registrato dalla pagina del bambino.",
            many(totals.unbooked as usize, "un bambino", "bambini")
        ));
    }
    for moved in &plan.moves {
        let on = |day: Option<NaiveDate>| day.map_or_else(|| "nessun giorno".to_owned(), day_in_words);
        told.push(format!(
            "Chi telefona adesso: l'operazione vale per {} (prima: {}), in {}.",
            on(moved.becomes),
            on(moved.was),
            many(moved.classes, "una classe", "classi")
        ));
    }
    told
}

/// What families could be told of a closure: where it holds, a title and a text. The news take it from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One line.
    pub title: String,
    /// Plain text.
    pub text: String,
}

/// A notice of a closure, to be looked over by the office.
pub fn notice(book: &Book, closure: &BookClosure) -> Notice {
    let place = place_name(book, closure.place);
    let days = span_in_words(closure.first, closure.last);
    let why = match closure.kind {
        ClosureKind::Other => closure.reason.clone(),
        kind if closure.reason.is_empty() => kind.label().to_lowercase(),
        kind => format!("{}: {}", kind.label().to_lowercase(), closure.reason),
    };
    let date = if closure.first == closure.last {
        date_in_words(closure.first)
    } else {
        format!("{}–{}", date_in_words(closure.first), date_in_words(closure.last))
    };
    Notice {
        title: format!("Mensa sospesa: {date} ({place})"),
        text: format!(
            "Gentili famiglie,\n\n{days} il servizio mensa non è previsto per {place} ({why}).\n\nNon occorre disdire il pasto: non sarà addebitato. \
             Le disdette già registrate per questi giorni non hanno effetto e non valgono per altri giorni.\n\nCordiali saluti"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canteen::book::Place;

    #[test]
    fn numbers_have_points() {
        let written = [0, 999, 1_000, 20_000, 1_234_567].map(thousands);
        assert_eq!(written, ["0", "999", "1.000", "20.000", "1.234.567"]);
    }

    #[test]
    fn what_families_are_told() {
        let day = |d| NaiveDate::from_ymd_opt(2026, 10, d).unwrap();
        let closure = BookClosure {
            id: 1,
            place: Place::Ente,
            first: day(20),
            last: day(21),
            kind: ClosureKind::Weather,
            reason: "allerta arancione".into(),
        };
        let notice = notice(&Book::default(), &closure);
        insta::assert_snapshot!(format!("{}\n\n{}", notice.title, notice.text), @"");
    }
}
