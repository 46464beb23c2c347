//! SIP: trunks, incoming calls, offer/answer; on `rsipstack` (design §5).
//!
//! `rsipstack` does transactions and dialogs; what is ours is policy: who may call, which number,
//! how many calls, and the life of a call ([`uas`]).

mod answered;
pub mod config;
mod door;
mod early;
pub mod gate;
pub mod headers;
pub mod identity;
mod in_dialog;
mod leg;
pub mod limits;
pub mod reason;
pub mod recent;
mod refresh;
pub mod reliable;
pub mod sdp;
pub mod server;
pub mod session_timer;
mod signalling;
pub mod stateless;
mod streams;
pub mod syntax;
mod uas;

pub use config::{SipConfig, Trunk};
pub use server::{Monitor, Server, ServerError, Stats};
