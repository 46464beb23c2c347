//! The desk: use cases, one transaction each (design §2).

pub mod export;
pub mod line;
pub mod roster_file;
