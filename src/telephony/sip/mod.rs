//! SIP: trunks, incoming calls, offer/answer; on `rsipstack` (design §5).
//!
//! `rsipstack` does transactions and dialogs; what is ours is policy: who may call, which number,
//! how many calls, and the life of a call ([`uas`]).

mod answered;
pub mod config;
mod door;
pub mod gate;
pub mod headers;
pub mod limits;
pub mod recent;
pub mod sdp;
pub mod server;
pub mod session_timer;
pub mod stateless;
mod streams;
pub mod syntax;
mod uas;

pub use config::{SipConfig, Trunk};
pub use server::{Monitor, Server, ServerError, Stats};
