//! Voce Guida: the telephone line on which Italian families cancel their child's school meal,
//! and everything behind it.
//!
//! A SIP packet becomes a committed cancellation along one straight way: [`telephony`] turns
//! packets into a call, [`voice`] runs the dialplan, [`desk`] opens a transaction, asks
//! [`canteen`] for the decision and lets [`store`] write it down. Imports go only downward in
//! this list: `cli`, `web`, `voice`, `telephony`, `desk`, `papers`, `store`,
//! `billing`, `canteen`, `ops`.

pub mod billing;
pub mod canteen;
pub mod cli;
pub mod desk;
pub mod ops;
pub mod papers;
pub mod store;
pub mod telephony;
pub mod voice;
pub mod web;
