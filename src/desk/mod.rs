//! The desk: use cases, one transaction each (design §2).

pub mod line;
