//! `[ente.billing]`: who the creditor is, how notices are numbered, when they are due.

use chrono::NaiveDate;
use serde::Deserialize;

use super::Problems;
use crate::{
    billing::{
        Cents,
        settings::{BillingSettings, DUE_DAYS, THRESHOLD},
    },
    canteen::fiscal_code::FiscalCode,
};

/// `[ente.billing]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingSection {
    /// The creditor's fiscal code, eleven digits.
    pub creditor: String,
    /// Segregation code, two digits, as the platform gave it out.
    pub segregation_code: String,
    /// Our series of notice numbers, 0 to 99.
    #[serde(default)]
    pub series: u8,
    /// The creditor's code in the CBILL circuit.
    pub cbill: Option<String>,
    /// Days from the issue of a notice until it is to be paid.
    pub due_days: Option<u16>,
    /// Less than this waits for the next notice, in cents.
    pub threshold_cents: Option<i64>,
    /// The first day that is billed here, YYYY-MM-DD.
    pub first_day: String,
}

/// The longest time to pay.
const MOST_DAYS: u16 = 365;
/// The highest threshold: more than a month's meals would never be asked for.
const MOST_THRESHOLD: i64 = 10_000;

pub(super) fn read(section: &BillingSection, slug: &str, line: usize, problems: &mut Problems<'_>) -> Option<BillingSettings> {
    let before = problems.list.len();
    let mut wrong = |what: String| problems.at(line, format!("ente {slug}: [ente.billing] {what}"));
    let creditor: Option<FiscalCode> = section.creditor.parse().ok().filter(FiscalCode::is_provisional);
    if creditor.is_none() {
        wrong("creditor: eleven digits, the last of which checks the others".to_owned());
    }
    let segregation = section.segregation_code.parse().ok();
    if segregation.is_none() {
        wrong("segregation_code: two digits, e.g. \"02\"".to_owned());
    }
    if section.series > 99 {
        wrong("series: from 0 to 99".to_owned());
    }
    let is_cbill = |code: &String| code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    if section.cbill.as_ref().is_some_and(|code| !is_cbill(code)) {
        wrong("cbill: five capitals and digits".to_owned());
    }
    let due_days = section.due_days.unwrap_or(DUE_DAYS);
    if !(1..=MOST_DAYS).contains(&due_days) {
        wrong(format!("due_days: from 1 to {MOST_DAYS}"));
    }
    let threshold = section.threshold_cents.unwrap_or(THRESHOLD.0);
    if !(0..=MOST_THRESHOLD).contains(&threshold) {
        wrong(format!("threshold_cents: from 0 to {MOST_THRESHOLD}"));
    }
    let first_day: Option<NaiveDate> = section.first_day.parse().ok();
    if first_day.is_none() {
        wrong(format!("first_day: \"{}\" is no day; write 2026-09-01", section.first_day));
    }
    if problems.list.len() > before {
        return None;
    }
    Some(BillingSettings {
        creditor: creditor?,
        segregation: segregation?,
        series: section.series,
        cbill: section.cbill.clone(),
        due_days,
        // A notice of nothing is none.
        threshold: Cents(threshold.max(1)),
        first_day: first_day?,
    })
}
