//! What a price and a line say, in plain Italian.

use super::{
    BasisPoints, Cents,
    family::{Relief, ReliefKind},
    price::Item,
    tariff::{Rate, SchoolOrder, Scope, Tariff},
};

/// "Residenti, fascia B (ISEE fino a 10.000,00 €): 3,20 €".
pub(super) fn rate_step(tariff: &Tariff, rate: &Rate, item: Item) -> String {
    let mut parts = Vec::new();
    match rate.scope {
        Scope::All => {}
        Scope::Order(SchoolOrder::Nursery) => parts.push("Scuola dell'infanzia".to_owned()),
        Scope::Order(SchoolOrder::Primary) => parts.push("Scuola primaria".to_owned()),
        Scope::Order(SchoolOrder::Middle) => parts.push("Scuola secondaria".to_owned()),
        Scope::School(_) => parts.push("Tariffa della scuola".to_owned()),
    }
    match rate.residents {
        None => {}
        Some(true) => parts.push("Residenti".to_owned()),
        Some(false) => parts.push("Non residenti".to_owned()),
    }
    let bands = tariff.bands(rate);
    if bands.len() > 1 {
        let place = bands.iter().position(|band| band.id == rate.id).unwrap_or_default();
        let below = place.checked_sub(1).and_then(|n| bands.get(n)).and_then(|band| band.isee_up_to);
        let limit = match (rate.isee_up_to, below) {
            (Some(limit), _) => format!("ISEE fino a {limit}"),
            (None, Some(below)) => format!("ISEE oltre {below} o non presentato"),
            (None, None) => "senza limite ISEE".to_owned(),
        };
        parts.push(format!("fascia {} ({limit})", letters(place)));
    }
    let mut who = parts.join(", ");
    if who.is_empty() {
        "Tariffa unica".clone_into(&mut who);
    }
    match item {
        Item::Meal => format!("{who}: {}", rate.meal),
        Item::Flat => format!("{who}, quota fissa del mese: {}", rate.monthly),
    }
}

/// A, B … Z, AA, AB …
fn letters(place: usize) -> String {
    let letter = char::from(b'A' + (place % 26) as u8);
    match (place / 26).checked_sub(1) {
        None => letter.to_string(),
        Some(before) => format!("{}{letter}", letters(before)),
    }
}

/// "Secondo figlio −20 %: 2,56 €".
pub(super) fn sibling_step(rank: u8, by: BasisPoints, after: Cents) -> String {
    format!("{} −{by}: {after}", child_in_words(rank))
}

fn child_in_words(rank: u8) -> String {
    const WORDS: [&str; 10] = ["Primo", "Secondo", "Terzo", "Quarto", "Quinto", "Sesto", "Settimo", "Ottavo", "Nono", "Decimo"];
    match usize::from(rank).checked_sub(1).and_then(|n| WORDS.get(n)) {
        Some(word) => format!("{word} figlio"),
        None => format!("{rank}º figlio"),
    }
}

/// "Riduzione 50 % (Delibera 12/2026): 1,28 €".
pub(super) fn relief_step(relief: &Relief, item: Item, after: Cents) -> String {
    let why = if relief.reason.is_empty() { String::new() } else { format!(" ({})", relief.reason) };
    match relief.kind {
        ReliefKind::Exempt => format!("Esenzione{why}: {after}"),
        ReliefKind::Percentage(by) => format!("Riduzione {by}{why}: {after}"),
        ReliefKind::FixedPrice(_) if item == Item::Flat => format!("Prezzo fisso del pasto{why}; quota fissa del mese: {after}"),
        ReliefKind::FixedPrice(_) => format!("Prezzo fisso{why}: {after}"),
    }
}
