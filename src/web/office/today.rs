//! Today: the first page.

use askama::Template;

use super::{Answer, Area, Page};
use crate::desk::people::Permission;

pub(super) fn area() -> Area {
    Area::new().menu("Oggi", "/ufficio/", Permission::SeeToday).get("/ufficio/", Permission::OwnAccount, show)
}

#[derive(Template)]
#[template(path = "office/today.html")]
struct Today<'a> {
    page: &'a Page,
}

async fn show(page: Page) -> Answer {
    page.show(&Today { page: &page })
}
