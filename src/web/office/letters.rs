//! Letters with codes.

use super::Area;

pub(super) fn area() -> Area {
    Area::new()
}
