//! A tariff as a TOML file, until the office has a page for it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;

use crate::billing::{
    BasisPoints, Cents,
    tariff::{Rate, SchoolOrder, Scope, Tariff},
};

/// The largest file that is read: ten times what a thousand lines take.
pub const MOST_BYTES: usize = 1 << 20;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TariffFile {
    /// The tariff's name.
    pub name: String,
    /// The tariff.
    pub tariff: Tariff,
    /// Orders of schools that it says, by the school's row.
    pub orders: Vec<(i64, SchoolOrder)>,
}

/// What is wrong with a file: line and words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct TariffFileError {
    file: String,
    line: usize,
    what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    valid_from: String,
    #[serde(default)]
    schools: BTreeMap<String, serde_spanned::Spanned<String>>,
    #[serde(default)]
    sibling: Vec<serde_spanned::Spanned<RawSibling>>,
    #[serde(default)]
    rate: Vec<serde_spanned::Spanned<RawRate>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSibling {
    child: u8,
    reduction_bp: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    school: Option<String>,
    order: Option<String>,
    residents: Option<bool>,
    isee_up_to_cents: Option<i64>,
    meal_cents: i64,
    #[serde(default)]
    monthly_cents: i64,
}

/// Reads a file; `schools` are the ente's, by short name.
///
/// # Errors
/// [`TariffFileError`]; also where the tariff cannot be used.
pub fn read(file: &str, text: &str, schools: &BTreeMap<String, i64>) -> Result<TariffFile, TariffFileError> {
    let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    let wrong = |line: usize, what: String| TariffFileError { file: file.to_owned(), line, what };
    if text.len() > MOST_BYTES {
        return Err(wrong(1, format!("più di {MOST_BYTES} byte non sono una tariffa")));
    }
    let raw: Raw = toml::from_str(text).map_err(|e| wrong(e.span().map_or(1, |span| line_of(span.start)), e.message().to_owned()))?;
    let valid_from: NaiveDate = raw.valid_from.parse().map_err(|_| wrong(1, "valid_from si scrive come \"2026-09-01\"".to_owned()))?;
    let school_row = |code: &str, line: usize| schools.get(code).copied().ok_or_else(|| wrong(line, format!("non c'è una scuola {code}")));
    let order_of = |word: &str, line: usize| {
        SchoolOrder::from_word(word).ok_or_else(|| wrong(line, "ordine di scuola: infanzia, primaria o secondaria".to_owned()))
    };
    let mut orders = Vec::new();
    for (code, order) in &raw.schools {
        let line = line_of(order.span().start);
        orders.push((school_row(code, line)?, order_of(order.get_ref(), line)?));
    }
    let mut siblings = Vec::new();
    for sibling in &raw.sibling {
        let reduction = BasisPoints::try_from(sibling.get_ref().reduction_bp);
        siblings.push((sibling.get_ref().child, reduction.map_err(|e| wrong(line_of(sibling.span().start), e.to_string()))?));
    }
    let mut rates = Vec::new();
    for rate in &raw.rate {
        let (line, r) = (line_of(rate.span().start), rate.get_ref());
        let scope = match (&r.school, &r.order) {
            (Some(_), Some(_)) => return Err(wrong(line, "una scuola o un ordine di scuola, non entrambi".to_owned())),
            (Some(code), None) => Scope::School(school_row(code, line)?),
            (None, Some(word)) => Scope::Order(order_of(word, line)?),
            (None, None) => Scope::All,
        };
        rates.push(Rate {
            id: 0,
            scope,
            residents: r.residents,
            isee_up_to: r.isee_up_to_cents.map(Cents),
            meal: Cents(r.meal_cents),
            monthly: Cents(r.monthly_cents),
        });
    }
    let tariff = Tariff { id: 0, valid_from, rates, siblings };
    tariff.check().map_err(|e| wrong(1, e.to_string()))?;
    Ok(TariffFile { name: raw.name, tariff, orders })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../deploy/tariffa.example.toml");

    fn schools() -> BTreeMap<String, i64> {
        [("PRI-RODARI".to_owned(), 1), ("INF-GIRASOLE".to_owned(), 2)].into()
    }

    #[test]
    fn the_example_is_a_good_tariff() {
        let read = read("x.toml", GOOD, &schools()).unwrap();
        assert_eq!((read.tariff.rates.len(), read.tariff.siblings.len()), (5, 2));
        assert_eq!(read.orders, [(2, SchoolOrder::Nursery), (1, SchoolOrder::Primary)]);
        let rate = read.tariff.rate(1, Some(SchoolOrder::Primary), true, Some(Cents(900_000))).unwrap();
        assert_eq!(rate.meal, Cents(320));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let said = |text: &str| read("x.toml", text, &schools()).unwrap_err().to_string();
        let told = [
            said(""),
            said(&GOOD.replace("2026-09-01", "1.9.2026")),
            said(&GOOD.replace("INF-GIRASOLE", "INF-ALTROVE")),
            said(&GOOD.replace("= \"primaria\"", "= \"liceo\"")),
            said(&GOOD.replace("reduction_bp = 2000", "reduction_bp = 20000")),
            said(&GOOD.replace("meal_cents = 320", "meal_cents = -320")),
            said(&GOOD.replace("meal_cents = 320", "meal_cents = 3.20")),
            said(&GOOD.replace("meal_cents = 320", "meal_cents = 320\nfree = true")),
            said(&GOOD[..GOOD.find("[[rate]]").unwrap()]),
        ];
        insta::assert_snapshot!(told.join("\n"));
    }
}
