//! Billing at the desk: what decides prices is entered, a month is looked at, its notices are issued, the accounts are proved.
//!
//! A run reads one picture of the database, reckons without it (`billing::account`), and writes in transactions of some hundred payers
//! each. It holds its ente: `billing_run` says which process is at it and until when it is to be heard of again, every transaction looks
//! first whether it still is. So two at once are one, and a run that died is finished by whoever runs it again: payers whose account it has
//! settled are passed over, the others are reckoned anew.

pub mod balance;
pub mod enter;
mod load;
pub mod paper;
pub mod run;
pub mod tariff_file;

use chrono::{DateTime, Utc};

use super::DeskError;
use crate::{
    billing::{Month, account::AccountError, money::Overflow, notice_number::NumberError},
    store::StoreError,
};

/// Why nothing was billed, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A notice number.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// The month has days to come: they are billed when it is over.
    #[error("{0} non è ancora finito: si emette a mese concluso")]
    NotOver(Month),
    /// The month ended before anything is billed here.
    #[error("{0} è prima del giorno da cui si fattura qui")]
    TooEarly(Month),
    /// Somebody else is issuing.
    #[error("un'altra emissione è in corso; se si è interrotta, si può riprendere dopo le {}", .0.format("%H:%M:%S UTC"))]
    Busy(DateTime<Utc>),
    /// A run of another month was not finished.
    #[error("l'emissione di {0} è rimasta a metà: la completi prima")]
    Unfinished(Month),
    /// While this run was silent another one went on with it.
    #[error("un'altra emissione ha ripreso il lavoro di questa, che si ferma qui")]
    TakenOver,
    /// The reckoning broke off.
    #[error("il calcolo si è interrotto")]
    Broken,
}

impl From<StoreError> for BillError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

impl From<Overflow> for BillError {
    fn from(error: Overflow) -> Self {
        Self::Account(error.into())
    }
}
