//! The JSON API on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod access;
mod client;
#[path = "../support/mod.rs"]
mod support;
mod work;
