//! A new school year: where each class goes, seen before it is done.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::extract::State;

use super::{Answer, Area, FlashKind, Form, Office, Oops, Page};
use crate::{
    canteen::promotion::Step,
    desk::{
        explain::day_in_words,
        people::Permission,
        rollover::{NewYear, RolloverError, RolloverPlan},
    },
};

const BACK: &str = "/ufficio/bambini/anno";
const NO_YEAR: &str = "Non c'è ancora nessun anno scolastico: importi prima il calendario.";

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/bambini/anno", Permission::ChangeFamilies, ask).post("/ufficio/bambini/anno", Permission::ChangeFamilies, look).post(
        "/ufficio/bambini/anno/esegui",
        Permission::ChangeFamilies,
        apply,
    )
}

/// A class in the form: name of its field, and what it shows.
struct Line {
    field: String,
    class: String,
    children: i64,
}

#[derive(Template)]
#[template(path = "office/new_year.html")]
struct AskPage<'a> {
    page: &'a Page,
    form: &'a Form,
    lines: &'a [Line],
    hindrances: &'a [String],
}

struct Move {
    class: String,
    children: i64,
    step: String,
}

#[derive(Template)]
#[template(path = "office/new_year_confirm.html")]
struct ConfirmPage<'a> {
    page: &'a Page,
    form: &'a Form,
    plan: &'a RolloverPlan,
    moves: &'a [Move],
    hidden: &'a [String],
    first: &'a str,
    last: &'a str,
}

/// How a step stands in its field: `esce`, `resta`, or the name of the class.
fn word(step: &Step) -> String {
    match step {
        Step::Promote(name) => name.clone(),
        Step::Stay => "resta".to_owned(),
        Step::Leave => "esce".to_owned(),
    }
}

fn step_of(word: &str) -> Option<Step> {
    match word.trim() {
        "" => None,
        "resta" => Some(Step::Stay),
        "esce" => Some(Step::Leave),
        name => Some(Step::Promote(name.to_owned())),
    }
}

fn on_page(page: Page) -> Page {
    page.under("Bambini", "/ufficio/bambini").titled("Nuovo anno scolastico")
}

fn lines(plan: &RolloverPlan) -> Vec<Line> {
    let line = |c: &crate::desk::rollover::ClassMove| Line {
        field: format!("classe{}", c.id),
        class: format!("{}, {}", c.name, c.school),
        children: c.children,
    };
    plan.classes.iter().map(line).collect()
}

async fn ask(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let Some(new) = office.desk.propose_year(page.ente.id).await? else {
        return page.on_with("/ufficio/bambini/importazioni", FlashKind::Warning, NO_YEAR);
    };
    let plan = office.desk.plan_rollover(page.ente.id, &new).await.map_err(broken)?;
    let mut form = Form::showing([("nome", new.name), ("primo", new.first.to_string()), ("ultimo", new.last.to_string())]);
    for class in &plan.classes {
        form.set(&format!("classe{}", class.id), word(&class.step));
    }
    let page = on_page(page);
    page.show(&AskPage { page: &page, form: &form, lines: &lines(&plan), hindrances: &plan.hindrances })
}

fn broken(error: RolloverError) -> Oops {
    match error {
        RolloverError::Desk(error) => error.into(),
        RolloverError::NoYear => Oops::Conflict(NO_YEAR.to_owned()),
        other => Oops::Broken(other.into()),
    }
}

fn take(form: &mut Form, classes: &[i64]) -> NewYear {
    let mut steps = BTreeMap::new();
    for id in classes {
        let typed = form.take_text(&format!("classe{id}"), "Classe", 20);
        steps.extend(step_of(&typed).map(|step| (*id, step)));
    }
    NewYear {
        name: form.take_text("nome", "Nome dell'anno", 20),
        first: form.take_day("primo", "Primo giorno di mensa"),
        last: form.take_day("ultimo", "Ultimo giorno di mensa"),
        fresh_codes: form.ticked("codici"),
        steps,
    }
}

async fn classes(office: &Office, page: &Page) -> Result<Vec<i64>, Oops> {
    Ok(office.desk.filters(page.ente.id).await?.classes.iter().map(|c| c.id).collect())
}

async fn look(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let new = take(&mut form, &classes(&office, &page).await?);
    let plan = office.desk.plan_rollover(page.ente.id, &new).await.map_err(broken)?;
    if form.is_bad() || !plan.hindrances.is_empty() {
        let page = on_page(page);
        return page.show_again(&AskPage { page: &page, form: &form, lines: &lines(&plan), hindrances: &plan.hindrances });
    }
    confirm(page, form, &plan)
}

fn confirm(page: Page, mut form: Form, plan: &RolloverPlan) -> Answer {
    form.set("impronta", plan.fingerprint());
    let a_move = |c: &crate::desk::rollover::ClassMove| Move {
        class: format!("{}, {}", c.name, c.school),
        children: c.children,
        step: match &c.step {
            Step::Promote(name) => format!("passano in {name}"),
            Step::Stay => "restano nella stessa classe".to_owned(),
            Step::Leave => "escono".to_owned(),
        },
    };
    let moves: Vec<_> = plan.classes.iter().map(a_move).collect();
    let hidden: Vec<_> = plan.classes.iter().map(|c| format!("classe{}", c.id)).collect();
    let page = page.under("Bambini", "/ufficio/bambini").under("Nuovo anno scolastico", BACK).titled("Conferma");
    let (first, last) = (day_in_words(plan.service.0), day_in_words(plan.service.1));
    page.show(&ConfirmPage { page: &page, form: &form, plan, moves: &moves, hidden: &hidden, first: &first, last: &last })
}

async fn apply(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let new = take(&mut form, &classes(&office, &page).await?);
    let shown = form.take_text("impronta", "Impronta", 64);
    if form.is_bad() {
        return page.on_with(BACK, FlashKind::Failed, "Le classi sono cambiate: ricominci da qui. Non è stato fatto nulla.");
    }
    match office.desk.apply_rollover(&page.actor(), &new, &shown).await {
        Ok(_) => page.done("/ufficio/bambini", &format!("L'anno {} è aperto. Si può annullare dalla pagina Importazioni.", new.name)),
        Err(RolloverError::Stale) => {
            form.wrong_whole("Nel frattempo i dati sono cambiati: ecco che cosa succederebbe adesso. Non è stato fatto nulla.");
            let plan = office.desk.plan_rollover(page.ente.id, &new).await.map_err(broken)?;
            confirm(page, form, &plan)
        }
        Err(RolloverError::Hindered(why)) => page.on_with(BACK, FlashKind::Failed, &why.join(" ")),
        Err(error) => Err(broken(error)),
    }
}
