//! People: who may log in, as what.

use super::Area;

pub(super) fn area() -> Area {
    Area::new()
}
