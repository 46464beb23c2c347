//! RTP: ports, packet pacing, keys (design §5).
//!
//! [`engine`] with its threads ([`worker`], [`session`]) touches sockets and clocks; the rest are plain state machines.

pub mod dtmf;
pub mod engine;
pub mod filter;
mod outbox;
pub mod ports;
pub mod receiver;
pub mod sender;
mod session;
pub mod srtp;
pub mod wheel;
mod worker;
