//! RTP: ports, packet pacing, keys, reports (design §5).
//!
//! [`engine`] is the only part that touches sockets and clocks; the rest are plain state machines.

pub mod dtmf;
pub mod engine;
pub mod inband;
pub mod keys;
pub mod liveness;
pub mod ports;
pub mod quality;
pub mod receiver;
pub mod reception;
pub mod rtcp;
pub mod sender;
