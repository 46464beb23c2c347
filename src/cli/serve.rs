//! `voceguida serve --config FILE`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use chrono::TimeDelta;
use tracing::info;

use super::node::{self, Number, Setup};
use crate::{
    desk::{Desk, people::Limits},
    ops::{clock::Clock, config::Config},
    store::Db,
    web::office::OfficeSettings,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Brings the configured enti into the database, or up to date there.
pub(super) async fn put_enti(desk: &Desk, config: &Config) -> anyhow::Result<()> {
    for ente in &config.ente {
        let ente = ente.get_ref();
        desk.put_ente(&ente.slug, &ente.name, ente.office_phone.as_deref(), &ente.window()).await?;
    }
    Ok(())
}

/// The office's settings.
fn office(config: &Config) -> OfficeSettings {
    let mut limits = Limits::default();
    if let Some(minutes) = config.office.idle_minutes {
        limits.idle = TimeDelta::minutes(minutes.into());
    }
    if let Some(hours) = config.office.session_hours {
        limits.absolute = TimeDelta::hours(hours.into());
    }
    OfficeSettings { url: config.office.url.clone(), proxies: config.office.proxies.clone(), limits }
}

/// Runs the service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let url = config.database_url().context("no database: set `database` in the configuration or VOCEGUIDA_DATABASE")?;
    let desk = Desk::new(Db::open(&url).await?, Clock::real());
    put_enti(&desk, &config).await?;
    let mut numbers = Vec::with_capacity(config.number.len());
    for (trunk, number) in config.numbers() {
        numbers.push(Number {
            trunk: trunk.map(ToOwned::to_owned),
            called: number.called.clone(),
            ente: desk.ente(Some(&number.ente)).await?.id,
            dialplan: number.dialplan.clone(),
        });
    }
    let setup = Setup {
        desk,
        sip: config.sip_config(),
        http: config.http,
        prompts: config.prompts.clone(),
        numbers,
        drain: config.drain(),
        office: office(&config),
        guide: None,
        mail: config.mail(),
        config: Some(args.config),
    };
    setup.sip.trace.set(config.trace.clone()).context("[trace]")?;
    node::run(setup, |server, http| {
        for (transport, address) in server.addresses() {
            info!(%transport, %address, "listening for calls");
        }
        info!(%http, "health and metrics");
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}
