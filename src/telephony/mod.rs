//! SIP, RTP and DTMF: turns packets into calls. Knows nothing of meals (design §2, §5).

pub mod call;
pub mod clip;
pub mod codec;
pub mod g711;
pub mod g722;
pub mod phone;
pub mod rtp;
pub mod sip;
pub mod trace;
