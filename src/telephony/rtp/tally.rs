//! What a media thread counts.

use std::sync::atomic::Ordering;

use super::engine::EngineCounters;

/// Counted by a thread and added to the engine's counters now and then.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub sent: u64,
    pub received: u64,
    pub strangers: u64,
    pub late_ticks: u64,
    pub send_errors: u64,
    pub dropped_events: u64,
}

impl Tally {
    /// Adds what has been counted to the engine's counters.
    pub fn publish(&mut self, counters: &EngineCounters) {
        let Self { sent, received, strangers, late_ticks, send_errors, dropped_events } = std::mem::take(self);
        for (counter, n) in [
            (&counters.sent, sent),
            (&counters.received, received),
            (&counters.strangers, strangers),
            (&counters.late_ticks, late_ticks),
            (&counters.send_errors, send_errors),
            (&counters.dropped_events, dropped_events),
        ] {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }
}
