//! Billing: from meal to money, to the cent (B1, B6). Pure: no async, no clock, no database (design §2).
//!
//! A month is not "meals times price" but *due − billed*, for each payer, child and day. Due is what today's truth says: the meal as it
//! stands, tariff, ISEE, reliefs, who pays which share on that day. Billed is the sum of everything issued for that day. So nothing is
//! billed twice, a run done again does nothing, whatever was learnt late is followed by exactly the difference, and what is not issued
//! (too small, or to the family's credit) waits for the next run by itself.

pub mod account;
pub mod family;
pub mod money;
pub mod month;
pub mod notice_number;
pub mod outcome;
pub mod price;
pub mod settings;
pub mod split;
pub mod tariff;
pub mod words;
pub mod world;

pub use self::{
    money::{BasisPoints, Cents},
    month::{DaySet, Month},
    notice_number::{NoticeNumber, SegregationCode},
};
