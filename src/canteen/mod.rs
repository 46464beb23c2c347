//! The canteen itself: calendar, window, the rule, a child's marks, codes and receipts.
//!
//! Everything here is pure: no async, no clock, no database (design §2).

pub mod book;
pub mod calendar;
pub mod case;
pub mod code;
pub mod demo;
pub mod fiscal_code;
pub mod holidays;
pub mod marks;
pub mod offer;
pub mod promotion;
pub mod roster;
pub mod rule;
pub mod types;
pub mod window;
pub mod words;

pub use types::{Channel, ChildId, Choice, DayState, EnteId, Reason};
