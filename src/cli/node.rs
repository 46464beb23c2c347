//! A running node: database, line, SIP, HTTP, the closing of the days, and an orderly end.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tracing::{error, info, warn};

use crate::{
    canteen::EnteId,
    cli::chores,
    desk::Desk,
    ops::{
        config::Config,
        smtp::{Pace, Smtp, SmtpConfig},
    },
    store::Ente,
    telephony::{
        codec::Codec,
        sip::{Server, SipConfig},
        trace::Trace,
    },
    voice::{
        check,
        line::{Line, Route},
        live::LineWatch,
        log::DeskLog,
        plan::Plan,
        prompts::{PromptLibrary, Shelf},
    },
    web::{
        self, Guide, Web,
        office::{self, LineNumber, LineRoom, Office, OfficeSettings},
    },
};

/// What a node is made of.
#[derive(Debug)]
pub struct Setup {
    /// The desk over an open database.
    pub desk: Desk,
    /// SIP.
    pub sip: SipConfig,
    /// HTTP.
    pub http: SocketAddr,
    /// The prompts' directory.
    pub prompts: PathBuf,
    /// Called numbers.
    pub numbers: Vec<Number>,
    /// How long running calls may finish at shutdown.
    pub drain: Duration,
    /// How the office is reached.
    pub office: OfficeSettings,
    /// For the page.
    pub guide: Option<Guide>,
    /// The mail server, and how it is spoken to.
    pub mail: Option<(SmtpConfig, Pace)>,
    /// The configuration file, whose `[trace]` is read again at SIGHUP.
    pub config: Option<PathBuf>,
}

/// A called number, and where it leads.
#[derive(Debug, Clone)]
pub struct Number {
    /// The trunk whose number it is; `None` for all trunks'.
    pub trunk: Option<String>,
    /// The number as the provider sends it.
    pub called: String,
    /// Whose canteen.
    pub ente: EnteId,
    /// Its dialplan.
    pub dialplan: PathBuf,
}

/// How often the database is asked whether there is a day to close, at the least.
const CLOSING_ROUND: Duration = Duration::from_mins(5);

/// Runs until SIGTERM or SIGINT, then lets running calls finish. `ready` is called once calls are taken.
pub async fn run(mut setup: Setup, ready: impl FnOnce(&Server, SocketAddr)) -> anyhow::Result<()> {
    setup.desk = setup.desk.with_mail(setup.mail.is_some());
    // Encoding in G.722 takes its time: only where a trunk may use it.
    let wideband = setup.sip.trunks.iter().any(|trunk| trunk.codecs.contains(&Codec::G722));
    let shelf = Arc::new(Shelf::new(load_prompts(&setup.prompts, wideband)?, wideband));
    let mut plans: HashMap<PathBuf, Arc<ArcSwap<Plan>>> = HashMap::new();
    let mut watched = Vec::new();
    let mut routes = HashMap::new();
    let mut trunk_routes = HashMap::new();
    let mut numbers = Vec::with_capacity(setup.numbers.len());
    for number in &setup.numbers {
        let path = &number.dialplan;
        let plan = if let Some(plan) = plans.get(path) {
            Arc::clone(plan)
        } else {
            let plan = Arc::new(ArcSwap::from_pointee(load_plan(path, &shelf.delivered())?));
            plans.insert(path.clone(), Arc::clone(&plan));
            plan
        };
        numbers.push(LineNumber { called: number.called.clone(), trunk: number.trunk.clone(), ente: number.ente, plan: Arc::clone(&plan) });
        watched.push((number.ente, number.called.clone(), Arc::clone(&plan)));
        let route = Route { ente: number.ente, plan };
        match &number.trunk {
            Some(trunk) => trunk_routes.insert((trunk.clone(), number.called.clone()), route),
            None => routes.insert(number.called.clone(), route),
        };
    }
    let enti = setup.desk.enti().await?;
    for ente in &enti {
        // A change of the cut-off whose day has come while nobody was here holds before the first call is judged.
        if setup.desk.settings(ente.id).await?.change.is_some() {
            setup.desk.close_days(ente.id, None, |day, meals| info!(ente = ente.slug, %day, meals, "day closed")).await?;
        }
    }
    shelf.refresh(&setup.desk).await?;
    let smtp = setup.mail.map(|(config, pace)| Ok::<_, anyhow::Error>((Smtp::new(&config)?, pace))).transpose()?;
    let log = DeskLog::new(setup.desk.clone());
    let line = Line::new(Arc::new(setup.desk.clone()), log.clone(), routes, Arc::clone(&shelf));
    let line = Arc::new(line.with_trunk_routes(trunk_routes));
    let watch = LineWatch { live: line.live(), node: uuid::Uuid::new_v4().to_string(), plans: watched };

    // Everything that can fail to start does so before the first call is taken.
    let listener = TcpListener::bind(setup.http).await.with_context(|| format!("cannot listen for HTTP on {}", setup.http))?;
    let http = listener.local_addr()?;
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let trace = setup.sip.trace.clone();
    let server = Server::start(setup.sip, setup.desk.clock(), line).await?;
    let web = Web {
        desk: setup.desk.clone(),
        sip: server.monitor(),
        guide: setup.guide.map(Arc::new),
        unwritten_records: log.unwritten(),
        started: std::time::Instant::now(),
        enti: enti.iter().map(|e| (e.id, e.name.clone())).collect(),
    };
    let api = web::api::router(setup.desk.clone(), setup.office.clone());
    let room = LineRoom { shelf: Arc::clone(&shelf), numbers };
    let office = Office::with_line(setup.desk.clone(), Some(server.monitor()), setup.office, Some(room)).await?;
    office.watch_line(watch.clone());
    let pages = web::router(web).merge(office::router(&office)).merge(api).into_make_service_with_connect_info::<SocketAddr>();
    let pages = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, pages).await {
            error!(%error, "HTTP has ended");
        }
    });
    let mut chores = enti.iter().map(|ente| tokio::spawn(close_days(setup.desk.clone(), ente.clone()))).collect::<Vec<_>>();
    chores.extend(enti.iter().map(|ente| tokio::spawn(chores::forget_what_is_old(setup.desk.clone(), ente.clone()))));
    chores.push(tokio::spawn(chores::follow_prompts(setup.desk.clone(), shelf.clone())));
    if setup.desk.is_shared() {
        chores.push(tokio::spawn(chores::leave_live_pictures(setup.desk.clone(), watch, enti.iter().map(|e| e.id).collect())));
    }
    if let Some((smtp, pace)) = smtp {
        chores.extend(enti.iter().map(|ente| tokio::spawn(chores::mail_news(setup.desk.clone(), ente.clone()))));
        chores.push(tokio::spawn(chores::send_mail(setup.desk.clone(), smtp, pace)));
    }
    ready(&server, http);

    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                reload(&setup.prompts, wideband, &shelf, &plans);
                if let Some(config) = &setup.config {
                    reload_trace(config, &trace);
                }
                match server.reload_tls() {
                    Ok(true) => info!("certificates reloaded"),
                    Ok(false) => {}
                    Err(error) => error!("certificates stay as they were: {error}"),
                }
            }
        }
    }
    info!(calls = server.active(), "stopping: no new calls; running ones may finish (again Ctrl-C or SIGTERM: at once)");
    let drained = server.drain(setup.drain);
    tokio::select! {
        left = drained => info!(hung_up = left, "all calls are over"),
        _ = term.recv() => warn!("stopped at once"),
        _ = interrupt.recv() => warn!("stopped at once"),
    }
    stop(chores, pages).await;
    log.finish().await;
    trace.finish();
    setup.desk.db().close().await;
    Ok(())
}

async fn stop(chores: Vec<JoinHandle<()>>, pages: JoinHandle<()>) {
    for task in chores {
        // A closing under way is a transaction: it is done, or not at all and done at the next start. A mail under way is handed over again.
        task.abort();
    }
    pages.abort();
    let _ = pages.await;
}

fn load_prompts(directory: &Path, wideband: bool) -> anyhow::Result<PromptLibrary> {
    let library = if wideband { PromptLibrary::load_wideband(directory)? } else { PromptLibrary::load(directory)? };
    for warning in library.warnings() {
        warn!("{warning}");
    }
    Ok(library)
}

/// A plan that has been proved against the prompts that there are.
fn load_plan(path: &Path, library: &PromptLibrary) -> anyhow::Result<Plan> {
    let plan = Plan::load(path)?;
    let problems = check::check(&path.display().to_string(), &plan, &|name| library.contains(name));
    if !problems.is_empty() {
        bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    Ok(plan)
}

/// SIGHUP: prompts and plans anew, all or nothing; calls go on under what they began with.
fn reload(directory: &Path, wideband: bool, shelf: &Shelf, plans: &HashMap<PathBuf, Arc<ArcSwap<Plan>>>) {
    let fresh = load_prompts(directory, wideband).and_then(|fresh| {
        let loaded = plans.iter().map(|(path, slot)| Ok((slot, load_plan(path, &fresh)?))).collect::<anyhow::Result<Vec<_>>>()?;
        Ok((fresh, loaded))
    });
    match fresh {
        Ok((fresh, loaded)) => {
            shelf.put_delivered(fresh);
            for (slot, plan) in loaded {
                slot.store(Arc::new(plan));
            }
            info!("prompts and dialplans reloaded");
        }
        Err(error) => error!("nothing was reloaded: {error:#}"),
    }
}

/// SIGHUP: the trace as the configuration has it now; calls go on.
fn reload_trace(config: &Path, trace: &Trace) {
    let set = Config::load(config).map_err(anyhow::Error::from).and_then(|fresh| {
        trace.set(fresh.trace.clone())?;
        Ok(fresh.trace.is_some())
    });
    match set {
        Ok(on) => info!(on, "SIP trace"),
        Err(error) => error!("the trace stays as it was: {error:#}"),
    }
}

/// Closes each day at its cut-off, and at the start whatever was missed (R9).
async fn close_days(desk: Desk, ente: Ente) {
    loop {
        let mut wait = CLOSING_ROUND;
        match desk.close_days(ente.id, None, |day, meals| info!(ente = ente.slug, %day, meals, "day closed")).await {
            Ok(_) => match desk.next_closing(ente.id).await {
                Ok((next, now)) => wait = wait.min((next - now).to_std().unwrap_or_default() + Duration::from_millis(50)),
                Err(error) => warn!(%error, "closing"),
            },
            Err(error) => {
                warn!(ente = ente.slug, %error, "the day could not be closed; trying again");
                wait = Duration::from_secs(5);
            }
        }
        if let Err(error) = desk.forget_wrong_codes(desk.clock().now()).await {
            warn!(%error, "old wrong codes");
        }
        if let Err(error) = desk.forget_sessions(desk.clock().now()).await {
            warn!(%error, "old sessions");
        }
        tokio::time::sleep(wait).await;
    }
}
