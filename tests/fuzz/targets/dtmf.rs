//! RFC 4733: event packets in any order, lost, doubled, cut short.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voceguida::telephony::rtp::dtmf::EventReceiver;

fuzz_target!(|packets: Vec<(u16, Vec<u8>)>| {
    let mut events = EventReceiver::default();
    let mut timestamp = 0u32;
    for (step, payload) in packets {
        // Forward mostly, back sometimes, far ahead at times.
        timestamp = match step % 4 {
            0 => timestamp,
            1 => timestamp.wrapping_sub(u32::from(step)),
            2 => timestamp.wrapping_add(u32::from(step) << 16),
            _ => timestamp.wrapping_add(u32::from(step)),
        };
        let key = events.receive(timestamp, &payload);
        if let Some(key) = key {
            assert!("0123456789*#ABCD".contains(key) && payload.len() >= 4);
            assert_eq!(events.receive(timestamp, &payload), None, "each press once");
        }
    }
});
