//! RTP: ports, packet pacing, keys, reports (design §5).
//!
//! [`engine`] with its threads ([`worker`], [`session`], and of these [`arrival`], [`outbox`], [`reports`]) touches
//! sockets and clocks; the rest are plain state machines.

mod arrival;
mod audio;
pub mod dtmf;
pub mod engine;
pub mod filter;
pub mod inband;
pub mod keys;
pub mod liveness;
mod outbox;
pub mod ports;
pub mod quality;
pub mod receiver;
pub mod reception;
mod reports;
pub mod rtcp;
pub mod sender;
mod session;
pub mod srtp;
mod stream;
mod tally;
pub mod wheel;
mod worker;
