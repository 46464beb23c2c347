//! RTP: ports, packet pacing, keys (design §5).

pub mod dtmf;
pub mod receiver;
pub mod sender;
