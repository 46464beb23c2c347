//! The words of the canteen: who asks, for what, and how it is answered.

use serde::{Deserialize, Serialize};

/// The body that runs the canteen ("ente"); the row's number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EnteId(pub i64);

/// A child; the row's number in the database. Never the keypad code, which is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChildId(pub i64);

/// The way an operation came in (R2, R5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The telephone line: inside the window, on the first useful day (R2, R3).
    Phone,
    /// Portal and app: a chosen day, until its cut-off (R5).
    Web,
    /// The school office on the family's behalf: a chosen day, with a written reason after its cut-off too.
    Office,
}

/// What can be asked for (R4). The keypad order is the dialplan's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// "Disdetta": cancel the meal of the day.
    Cancel,
    /// "Pasto in bianco": a plain white meal on the day.
    White,
    /// Suspend from the day on.
    Suspend,
    /// Resume from the day on.
    Resume,
    /// Undo a cancellation or a white meal of the day.
    Undo,
}

/// Why an operation was refused (design §3; the order of checking is the rule's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Phone: outside 18:00–09:00 (R2).
    OutsideWindow,
    /// Phone: no useful day is left in the term (R3).
    NoServiceDay,
    /// Web: no service for this child on that day.
    NotAServiceDay,
    /// Web: after the day's cut-off.
    TooLate,
    /// Web: a suspension that ends before it begins.
    InvalidRange,
    /// Cancel, white, undo: the child is suspended on that day.
    Suspended,
    /// The meal is cancelled already.
    AlreadyCancelled,
    /// A white meal is booked already.
    AlreadyWhite,
    /// The suspension would change nothing.
    AlreadySuspended,
    /// Resume: no suspension covers the day.
    NotSuspended,
    /// Undo: neither cancelled nor white on that day.
    NothingToUndo,
}

/// What stands for a child on a day (R6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// The meal is booked and will be billed.
    Served,
    /// Cancelled in time: not cooked, not billed.
    Cancelled,
    /// Booked as a plain white meal.
    White,
    /// Under a suspension.
    Suspended,
    /// The service is not provided to this child on this day.
    NoService,
}
