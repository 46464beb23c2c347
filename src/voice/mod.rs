//! The line: dialplan, its interpreter, prompts, spoken Italian (design §6, §7).

pub mod plan;
