//! What a change of the calendar does, in plain Italian: what the office reads before it confirms, and what families could be told.

use chrono::NaiveDate;

use super::{Plan, place_name};
use crate::{
    canteen::{
        book::{Book, BookClosure, ClosureKind},
        words::{date_in_words, day_in_words},
    },
    store::StandingRow,
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

/// "2 disdette, un pasto in bianco".
fn marks_in_words(rows: &[StandingRow]) -> String {
    let of = |kind: &str| rows.iter().filter(|r| r.kind == kind).count();
    let counted = [(of("cancelled"), "una disdetta", "disdette"), (of("white"), "un pasto in bianco", "pasti in bianco")];
    counted.into_iter().filter(|(n, ..)| *n > 0).map(|(n, one, more)| many(n, one, more)).collect::<Vec<_>>().join(", ")
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
            "Il termine è passato e la cucina ha già il conteggio. Pasti contati che non saranno addebitati: {}. Il foglio della cucina resta com'era; \
             accanto si vede la rettifica.",
            thousands(unbilled)
        ));
    }
    if !plan.falling.is_empty() {
        told.push(format!(
            "Senza più effetto, perché non c'è mensa: {}. Restano nel registro con la loro ricevuta e non sono spostati a un altro giorno: la famiglia sa per \
             quale giorno valevano.",
            marks_in_words(&plan.falling)
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
                "Il termine è passato e le famiglie non possono più disdire. Pasti che saranno addebitati: {}.",
                thousands(billed)
            ));
        }
    }
    if !plan.returning.is_empty() {
        told.push(format!("Di nuovo validi, come registrati prima della chiusura: {}.", marks_in_words(&plan.returning)));
    }
    if totals.unbooked > 0 {
        told.push(format!(
            "Il termine è passato quando la chiusura era già nota: nessuno poteva disdire e la cucina non ha contato. Perciò nessuno è prenotato e \
             nulla è addebitato (bambini: {}). Chi mangia comunque va registrato dalla pagina del bambino.",
            thousands(totals.unbooked as usize)
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
        insta::assert_snapshot!(format!("{}\n\n{}", notice.title, notice.text), @r"
        Mensa sospesa: 20 ottobre 2026–21 ottobre 2026 (tutte le scuole)

        Gentili famiglie,

        da martedì 20 ottobre 2026 a mercoledì 21 ottobre 2026 il servizio mensa non è previsto per tutte le scuole (allerta meteo: allerta arancione).

        Non occorre disdire il pasto: non sarà addebitato. Le disdette già registrate per questi giorni non hanno effetto e non valgono per altri giorni.

        Cordiali saluti
        ");
    }
}
