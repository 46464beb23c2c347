//! The line: dialplan, its interpreter, prompts, spoken Italian (design §6, §7).

pub mod check;
pub mod draw;
pub mod flow;
pub mod line;
pub mod live;
pub mod log;
pub mod machine;
pub mod path;
pub mod plan;
pub mod prompts;
pub mod simulate;
pub mod speech;
pub mod words;
