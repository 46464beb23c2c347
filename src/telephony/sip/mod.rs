//! SIP: trunks, incoming calls, offer/answer; on `rsipstack` (design §5).
//!
//! `rsipstack` does transactions and dialogs; what is ours is policy: who may call, which number,
//! how many calls, and the life of a call ([`uas`]).

mod answered;
pub mod certificates;
pub mod config;
pub mod digest;
mod dispatch;
mod door;
mod early;
pub mod gate;
pub mod headers;
pub mod identity;
mod in_dialog;
pub mod keepalive;
mod leg;
pub mod limits;
mod listen;
mod outbound;
mod pinging;
mod proven;
pub mod reason;
pub mod recent;
mod refresh;
mod registering;
pub mod registrar;
pub mod reliable;
pub mod sdp;
mod secure;
pub mod server;
pub mod session_timer;
mod signalling;
pub mod stateless;
pub mod status;
mod streams;
pub mod syntax;
mod tls;
mod trunks;
mod uas;
mod unread;

pub use config::{SipConfig, Trunk};
pub use server::{Monitor, Server, ServerError, Stats};
pub use tls::TlsError;
