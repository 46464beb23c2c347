//! What the demo's office has written: news, answers to families, a key for the caterer. Each at its own instant, through the desk's use cases.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::{
    canteen::{ChildId, window::Window},
    desk::{
        Desk,
        access::{Scope, TokenData},
        news::NewsEdit,
        tickets::{NewTicket, Origin, TicketState, Topic, answer::Reply, canned::CannedEdit},
        trail::Actor,
    },
    ops::clock::Clock,
};

/// What a family asks: days ago, topic, title, text, what the office answered, and how it stands since.
type Question = (i64, Topic, &'static str, &'static str, Option<&'static str>, TicketState);

/// What families ask.
const QUESTIONS: [Question; 5] = [
    (
        34,
        Topic::Line,
        "Lettera con il codice smarrita",
        "Buongiorno, non troviamo più la lettera con il codice. Come possiamo fare?",
        Some("Gentile famiglia, il codice è stato sostituito: la lettera nuova è in segreteria, dalle 8 alle 13."),
        TicketState::Closed,
    ),
    (
        16,
        Topic::Diet,
        "Certificato per la dieta senza lattosio",
        "Buonasera, il pediatra ci ha dato il certificato: a chi dobbiamo consegnarlo?",
        Some("Gentile famiglia, può portarlo in segreteria o inviarlo in risposta a questo messaggio: la dieta parte dal giorno dopo."),
        TicketState::Waiting,
    ),
    (
        12,
        Topic::Meals,
        "Sciopero: il pasto viene addebitato?",
        "La scuola è rimasta chiusa, ma avevamo già passato il termine delle 9. Pagheremo il pasto?",
        Some("Gentile famiglia, no: con la chiusura inserita dall'ufficio nessuno paga il pasto di quel giorno."),
        TicketState::Closed,
    ),
    (
        3,
        Topic::Meals,
        "Disdetta dopo le 9",
        "Nostra figlia si è sentita male alle 9 e 20: si può ancora disdire il pasto di oggi?",
        None,
        TicketState::Open,
    ),
    (
        1,
        Topic::Enrolment,
        "Cambio di numero di telefono",
        "Vorremmo aggiornare il numero del papà, quello vecchio non è più attivo.",
        None,
        TicketState::Open,
    ),
];

/// Writes it all.
pub(super) async fn write(desk: &Desk, admin: &Actor, clerk: &Actor, window: &Window) -> anyhow::Result<()> {
    let now = desk.clock().now();
    let then = |at: DateTime<Utc>| Desk::new(desk.db().clone(), Clock::starting_at(at));
    let days_ago = |days: i64, hour: u32, minute: u32| {
        let day = window.local(now).date() - TimeDelta::days(days);
        window.instant(day.and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default()))
    };
    let publish = async |at: DateTime<Utc>, id: i64| -> anyhow::Result<()> {
        let Some(file) = then(at).news_file(clerk.ente, id).await? else { return Ok(()) };
        then(at + TimeDelta::minutes(4)).publish_news(clerk, id, file.row.version).await?;
        Ok(())
    };
    let edit = |title: &str, body: &str, pinned| NewsEdit {
        title: title.to_owned(),
        body: body.to_owned(),
        targets: Vec::new(),
        from: None,
        until: None,
        pinned,
        by_mail: false,
    };
    let at = days_ago(23, 11, 20);
    let menu = "Gentili famiglie,\n\nda lunedì è in vigore il **menù invernale**, approvato dall'ASL:\n\n- minestre di stagione due volte alla settimana\n- frutta a metà \
                mattina\n\nIl menù completo è esposto in ogni scuola.";
    let id = then(at).draft_news(clerk, &edit("Menù invernale", menu, true)).await?;
    publish(at, id).await?;
    let local = window.local(now).date();
    let closures = desk.closures_between(clerk.ente, local - TimeDelta::days(40), local).await?;
    if let Some(strike) = closures.iter().rfind(|closure| closure.kind == "strike" && closure.withdrawn_at.is_none()) {
        let at = strike.entered_at + TimeDelta::minutes(3);
        if let Some(id) = then(at).news_of_closure(clerk, strike.id).await? {
            publish(at, id).await?;
        }
    }
    let party = "Gentili famiglie,\n\nil pranzo di Natale è previsto per l'ultima settimana prima delle vacanze. Seguirà il menù.";
    then(days_ago(2, 12, 5)).draft_news(clerk, &edit("Pranzo di Natale", party, false)).await?;

    let answer = CannedEdit {
        title: "Codice smarrito".to_owned(),
        body: "Gentile {nome}, il codice di {bambino} è stato sostituito: la lettera nuova è in segreteria.".to_owned(),
    };
    // The answers that every office begins with may hold this one already.
    let _ = then(days_ago(60, 9, 30)).add_canned_answer(clerk, &answer).await;
    let children = desk.db().read().await?.child_ids().await?;
    for (nth, (days, topic, title, body, said, becomes)) in QUESTIONS.into_iter().enumerate() {
        let Some(&child) = children.get(17 * nth + 5) else { continue };
        question(&then, clerk, child, (days_ago(days, 19, 10), topic, title, body), said.map(|said| (said, becomes))).await?;
    }
    let data = TokenData {
        name: "Centro cottura Valserena".to_owned(),
        scopes: vec![Scope::Counts, Scope::Calendar],
        lasts: TimeDelta::days(365),
    };
    then(days_ago(50, 9, 45)).make_token(admin, &data).await?;
    Ok(())
}

/// A family asks, and is answered on the next morning.
async fn question(
    then: &impl Fn(DateTime<Utc>) -> Desk,
    clerk: &Actor,
    child: ChildId,
    (at, topic, title, body): (DateTime<Utc>, Topic, &str, &str),
    said: Option<(&str, TicketState)>,
) -> anyhow::Result<()> {
    let adult = then(at).db().read().await?.letter_guardians(&[child.0]).await?.into_iter().next();
    let new = NewTicket {
        origin: Origin::Portal,
        topic,
        title: title.to_owned(),
        body: body.to_owned(),
        author: adult.as_ref().map(|adult| format!("{} {}", adult.first_name, adult.last_name)).unwrap_or_default(),
        child: Some(child),
        adult: adult.map(|adult| adult.id),
        assigned: None,
    };
    let id = then(at).open_ticket(&Actor::system(clerk.ente), &new).await?;
    let Some((text, becomes)) = said else { return Ok(()) };
    let morning = at + TimeDelta::hours(14);
    if let Some(file) = then(morning).ticket_file(clerk.ente, id).await? {
        let reply = Reply { text: text.to_owned(), to: None, becomes };
        then(morning).answer_ticket(clerk, id, file.row.version, &reply).await?;
    }
    Ok(())
}
