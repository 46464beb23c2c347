//! What an ente settles once: who the creditor is, how notices are numbered, when they are due.

use chrono::NaiveDate;

use super::{Cents, SegregationCode};
use crate::canteen::fiscal_code::FiscalCode;

/// An ente's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingSettings {
    /// The creditor's fiscal code: eleven digits.
    pub creditor: FiscalCode,
    /// Which of the creditor's stations it is.
    pub segregation: SegregationCode,
    /// Our series of notice numbers, 0 to 99, where several programs share the segregation code.
    pub series: u8,
    /// The creditor's code in the CBILL circuit, where it has one.
    pub cbill: Option<String>,
    /// Days from the issue of a notice until it is to be paid.
    pub due_days: u16,
    /// Less than this waits for the next run.
    pub threshold: Cents,
    /// The first day that is billed here: earlier ones were somebody else's.
    pub first_day: NaiveDate,
}

/// Days to pay where nothing is told.
pub const DUE_DAYS: u16 = 30;
/// Threshold where nothing is told.
pub const THRESHOLD: Cents = Cents(500);
