//! SIP: trunks, incoming calls, offer/answer; on `rsipstack` (design §5).

pub mod sdp;
