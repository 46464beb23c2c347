//! RTP: ports, packet pacing, keys, reports (design §5).
//!
//! [`engine`] is the only part that touches sockets and clocks; the rest are plain state machines.

pub mod dtmf;
pub mod engine;
pub mod inband;
pub mod ports;
pub mod receiver;
pub mod sender;
