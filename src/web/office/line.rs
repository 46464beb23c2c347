//! The telephone line: calls, dialplan, prompts.

use super::Area;

pub(super) fn area() -> Area {
    Area::new()
}
