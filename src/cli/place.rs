//! Which database a command works on, and on which ente.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::{
    desk::Desk,
    ops::{clock::Clock, config::Config},
    store::{Db, Ente},
};

/// Where the data is: a configuration file, or the demo's directory.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Configuration file of the service.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// The demo's directory.
    #[arg(long, value_name = "DIR", default_value = super::demo::DEFAULT_DATA)]
    data: PathBuf,
    /// Short name of the ente, where the database holds several.
    #[arg(long, value_name = "SLUG")]
    ente: Option<String>,
}

impl Place {
    /// Opens the database.
    pub async fn open(&self) -> anyhow::Result<(Desk, Ente)> {
        let (desk, ente, _) = self.open_with_config().await?;
        Ok((desk, ente))
    }

    /// Opens the database; with the configuration, where there is one.
    pub async fn open_with_config(&self) -> anyhow::Result<(Desk, Ente, Option<Config>)> {
        let (url, config) = match &self.config {
            Some(path) => {
                let config = Config::load(path)?;
                (config.database_url().context("the configuration names no database")?, Some(config))
            }
            None => (super::demo::database_url(&self.data), None),
        };
        if config.is_none() && !super::demo::database_file(&self.data).exists() {
            bail!("there is no demo in {}: run `voceguida demo` first, or give --config FILE", self.data.display());
        }
        let desk = Desk::new(Db::open(&url).await?, Clock::real());
        if let Some(config) = &config {
            super::serve::put_enti(&desk, config).await?;
        }
        let ente = desk.ente(self.ente.as_deref()).await.map_err(|error| match error {
            crate::desk::DeskError::NoEnte => anyhow::anyhow!("say which ente with --ente SLUG"),
            other => other.into(),
        })?;
        Ok((desk, ente, config))
    }
}
