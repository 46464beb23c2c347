//! The configuration file of `serve` (docs/operator.md has an example with every setting).

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::NaiveTime;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use serde_spanned::Spanned;

use crate::{
    canteen::window::Window,
    telephony::{
        sip::{SipConfig, Trunk},
        trace::TraceSettings,
    },
};

/// Everything that `serve` is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite:FILE` or `postgres://…`; the environment's `VOCEGUIDA_DATABASE` goes before it, so
    /// that a password need not stand in the file.
    pub database: Option<String>,
    /// Where the health, metrics and information pages are served.
    pub http: SocketAddr,
    /// The prompts' directory.
    #[serde(default = "default_prompts")]
    pub prompts: PathBuf,
    /// The SIP endpoint.
    pub sip: SipSection,
    /// Providers.
    #[serde(default)]
    pub trunk: Vec<TrunkSection>,
    /// Enti.
    pub ente: Vec<Spanned<EnteSection>>,
    /// Called numbers.
    pub number: Vec<Spanned<NumberSection>>,
    /// Writes SIP down, for whoever looks for a fault; read again at SIGHUP.
    pub trace: Option<TraceSettings>,
    /// How long running calls may finish at shutdown, in seconds.
    #[serde(default = "default_drain")]
    pub drain_seconds: u64,
}

fn default_prompts() -> PathBuf {
    "prompts/it".into()
}

fn default_drain() -> u64 {
    120
}

/// `[sip]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SipSection {
    /// UDP addresses.
    #[serde(default)]
    pub udp: Vec<SocketAddr>,
    /// TCP addresses.
    #[serde(default)]
    pub tcp: Vec<SocketAddr>,
    /// Our address as the provider sees it, behind NAT.
    pub external_address: Option<IpAddr>,
    /// First and last RTP port.
    #[serde(default = "default_ports")]
    pub rtp_ports: (u16, u16),
    /// Calls at once.
    #[serde(default = "default_calls")]
    pub max_calls: usize,
    /// Media threads; as many as cores where not told.
    pub media_threads: Option<usize>,
}

fn default_ports() -> (u16, u16) {
    (20_000, 39_999)
}

fn default_calls() -> usize {
    1_000
}

/// `[[trunk]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkSection {
    /// Name, for logs and CDRs.
    pub name: String,
    /// Addresses and networks that its calls come from.
    pub sources: Vec<IpNet>,
    /// New calls a second.
    #[serde(default = "default_rate")]
    pub calls_per_second: u32,
}

fn default_rate() -> u32 {
    100
}

/// `[[ente]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnteSection {
    /// Short name.
    pub slug: String,
    /// Full name.
    pub name: String,
    /// The school office's telephone number.
    pub office_phone: Option<String>,
    /// Opening of the phone window, HH:MM.
    #[serde(default, deserialize_with = "hour_and_minute")]
    pub opens: Option<NaiveTime>,
    /// Cut-off, HH:MM.
    #[serde(default, deserialize_with = "hour_and_minute")]
    pub cutoff: Option<NaiveTime>,
    /// Time zone, e.g. `Europe/Rome`.
    pub zone: Option<chrono_tz::Tz>,
}

impl EnteSection {
    /// Its window, with the usual settings where nothing is told (R2).
    pub fn window(&self) -> Window {
        let usual = Window::default();
        Window {
            opens: self.opens.unwrap_or(usual.opens),
            cutoff: self.cutoff.unwrap_or(usual.cutoff),
            zone: self.zone.unwrap_or(usual.zone),
        }
    }
}

/// `[[number]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberSection {
    /// The called number as the provider sends it.
    pub called: String,
    /// Short name of its ente.
    pub ente: String,
    /// Its dialplan.
    pub dialplan: PathBuf,
}

fn hour_and_minute<'de, D: Deserializer<'de>>(input: D) -> Result<Option<NaiveTime>, D::Error> {
    let text = String::deserialize(input)?;
    NaiveTime::parse_from_str(&text, "%H:%M").map(Some).map_err(|_| de::Error::custom(format!("\"{text}\" is no HH:MM time")))
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// Each with file and line.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Read(file.clone(), e))?;
        Self::parse(&file, &text)
    }

    /// As [`Config::load`]; `file` is for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            ConfigError::Problems(vec![format!("{file}:{line}: {}", e.message())])
        })?;
        let mut problems = Vec::new();
        if config.sip.udp.is_empty() && config.sip.tcp.is_empty() {
            problems.push(format!("{file}: [sip] listens nowhere: give udp or tcp addresses"));
        }
        if config.trunk.is_empty() {
            problems.push(format!("{file}: there is no [[trunk]]: nobody could call"));
        }
        let (first, last) = config.sip.rtp_ports;
        if first < 1024 || last <= first {
            problems.push(format!("{file}: rtp_ports must be two ports from 1024 on, the second greater"));
        }
        for (index, number) in config.number.iter().enumerate() {
            let line = line_of(number.span().start);
            let number = number.get_ref();
            if !config.ente.iter().any(|ente| ente.get_ref().slug == number.ente) {
                problems.push(format!("{file}:{line}: number {}: there is no ente \"{}\"", number.called, number.ente));
            }
            if config.number.iter().take(index).any(|other| other.get_ref().called == number.called) {
                problems.push(format!("{file}:{line}: number {} is there twice", number.called));
            }
        }
        if config.trace.as_ref().is_some_and(|trace| trace.hep.is_none() && trace.pcap.is_none()) {
            problems.push(format!("{file}: [trace] goes nowhere: give hep or pcap, or leave it out"));
        }
        for ente in &config.ente {
            let line = line_of(ente.span().start);
            let ente = ente.get_ref();
            if ente.window().opens == ente.window().cutoff {
                problems.push(format!("{file}:{line}: ente {}: the window opens when it closes", ente.slug));
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems(problems)) }
    }

    /// The database's URL.
    pub fn database_url(&self) -> Option<String> {
        std::env::var("VOCEGUIDA_DATABASE").ok().or_else(|| self.database.clone())
    }

    /// The SIP endpoint's settings.
    pub fn sip_config(&self) -> SipConfig {
        let usual = SipConfig::default();
        SipConfig {
            udp: self.sip.udp.clone(),
            tcp: self.sip.tcp.clone(),
            external_address: self.sip.external_address,
            rtp_ports: self.sip.rtp_ports.0..=self.sip.rtp_ports.1,
            media_threads: self.sip.media_threads.unwrap_or(usual.media_threads),
            max_calls: self.sip.max_calls,
            trunks: self
                .trunk
                .iter()
                .map(|t| Trunk { name: t.name.clone(), sources: t.sources.clone(), calls_per_second: t.calls_per_second })
                .collect(),
            ..usual
        }
    }

    /// How long running calls may finish at shutdown.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../deploy/voceguida.example.toml");

    #[test]
    fn the_example_is_a_good_configuration() {
        let config = Config::parse("voceguida.toml", GOOD).unwrap();
        assert_eq!(config.number.len(), 1);
        assert_eq!(config.ente[0].get_ref().window(), Window::default());
        assert!(config.sip_config().trunk_of("203.0.113.9".parse().unwrap()).is_some());
    }

    #[test]
    fn a_trace_goes_somewhere_or_is_left_out() {
        assert_eq!(Config::parse("x.toml", GOOD).unwrap().trace, None);
        let on = GOOD.replace("# [trace]", "[trace]").replace("# hep = ", "hep = ").replace("# callers = ", "callers = ");
        let trace = Config::parse("x.toml", &on).unwrap().trace.unwrap();
        assert_eq!((trace.hep_node, trace.callers), (2_001, vec!["3471234567".to_owned()]));
        let nowhere = Config::parse("x.toml", &format!("{GOOD}\n[trace]\n")).unwrap_err();
        assert!(nowhere.to_string().contains("[trace] goes nowhere"), "{nowhere}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let said = |text: &str| match Config::parse("x.toml", text) {
            Err(ConfigError::Problems(list)) => list.join("\n"),
            other => panic!("{other:?}"),
        };
        let broken = GOOD.replace("ente = \"borgo\"", "ente = \"altrove\"").replace("[[trunk]]", "[[trunk]]\nnonsense = 1");
        insta::assert_snapshot!(
            [
                said(&broken),
                said(&GOOD.replace("ente = \"borgo\"", "ente = \"altrove\"")),
                said(&GOOD.replace("opens = \"18:00\"", "opens = \"18.00\"")),
                said(&GOOD.replace("opens = \"18:00\"", "opens = \"09:00\"")),
                said("http = 3"),
            ]
            .join("\n")
        );
    }
}
