//! Running it: clock and chance, configuration, tracing, metrics, health, shutdown.

pub mod chance;
pub mod clock;
pub mod config;
pub mod smtp;
