//! Children: search, a page for each.

use super::Area;

pub(super) fn area() -> Area {
    Area::new()
}
