//! The configuration file of `serve` (deploy/voceguida.example.toml has every setting).

mod billing;
mod mail;
mod trunk;

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
    billing::settings::BillingSettings,
    canteen::window::Window,
    ops::smtp::{Pace, SmtpConfig},
    telephony::{
        sip::{
            SipConfig, Trunk,
            config::{ClientCertificates, TlsConfig, Transport},
            digest::Algorithm,
        },
        trace::TraceSettings,
    },
};

pub use billing::BillingSection;
pub use mail::MailSection;
pub use trunk::{AuthSection, RegisterSection, TrunkSection, UserSection};

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
    pub trunk: Vec<Spanned<TrunkSection>>,
    /// The providers as telephony wants them, with their passwords.
    #[serde(skip)]
    trunks: Vec<Trunk>,
    /// Enti.
    pub ente: Vec<Spanned<EnteSection>>,
    /// Called numbers, on whatever trunk.
    #[serde(default)]
    pub number: Vec<Spanned<NumberSection>>,
    /// The mail server; without it nothing is mailed.
    pub mail: Option<Spanned<MailSection>>,
    /// The mail server as it is spoken to, with its password.
    #[serde(skip)]
    smtp: Option<SmtpConfig>,
    /// The office's pages.
    #[serde(default)]
    pub office: OfficeSection,
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

/// `[office]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficeSection {
    /// Where people find it, e.g. `https://mensa.comune.example`. With https, its cookies are for https only.
    pub url: Option<String>,
    /// Proxies in front of it, whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub proxies: Vec<IpNet>,
    /// A login ends when it is not used for so many minutes.
    pub idle_minutes: Option<u16>,
    /// A login ends after so many hours in any case.
    pub session_hours: Option<u16>,
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
    /// TLS.
    #[serde(default)]
    pub tls: TlsSection,
    /// Our address as the provider sees it, behind NAT.
    pub external_address: Option<IpAddr>,
    /// The realm that callers with a password are asked for.
    pub realm: Option<String>,
    /// The digests that they are offered, the preferred one first.
    pub digests: Option<Vec<Algorithm>>,
    /// Name servers; the system's where not told.
    #[serde(default)]
    pub dns: Vec<SocketAddr>,
    /// First and last RTP port.
    #[serde(default = "default_ports")]
    pub rtp_ports: (u16, u16),
    /// Calls at once.
    #[serde(default = "default_calls")]
    pub max_calls: usize,
    /// Media threads; as many as cores where not told.
    pub media_threads: Option<usize>,
}

/// `[sip.tls]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// Addresses.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Our certificate with its chain (PEM).
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// Whose signature we accept (PEM); the system's list where not told.
    pub ca: Option<PathBuf>,
    /// Do callers have to show a certificate signed by `ca`?
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

fn default_ports() -> (u16, u16) {
    (20_000, 39_999)
}

fn default_calls() -> usize {
    1_000
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
    /// Billing; without it nothing is billed.
    pub billing: Option<Spanned<BillingSection>>,
    /// Billing's terms, as they were read.
    #[serde(skip)]
    billing_settings: Option<BillingSettings>,
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

    /// Its terms of billing, where it bills.
    pub fn billing(&self) -> Option<&BillingSettings> {
        self.billing_settings.as_ref()
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

/// Problems found in a file.
struct Problems<'a> {
    file: &'a str,
    list: Vec<String>,
}

impl Problems<'_> {
    fn somewhere(&mut self, what: &str) {
        self.list.push(format!("{}: {what}", self.file));
    }

    fn at(&mut self, line: usize, what: impl std::fmt::Display) {
        self.list.push(format!("{}:{line}: {what}", self.file));
    }
}

impl Config {
    /// Reads and checks a configuration file, and the passwords that it names.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Read(file.clone(), e))?;
        Self::parse(&file, &text, &|variable| std::env::var(variable).ok())
    }

    /// The HTTP address alone, for asking the running node: that needs no passwords.
    pub fn http_address(path: &Path) -> Result<SocketAddr, ConfigError> {
        #[derive(Deserialize)]
        struct Http {
            http: SocketAddr,
        }
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Read(file.clone(), e))?;
        let read: Http = toml::from_str(&text).map_err(|e| ConfigError::Problems(vec![format!("{file}: {}", e.message())]))?;
        Ok(read.http)
    }

    /// As [`Config::load`]; `file` is for messages, `environment` gives the values of variables.
    pub fn parse(file: &str, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        let mut config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            ConfigError::Problems(vec![format!("{file}:{line}: {}", e.message())])
        })?;
        let mut problems = Problems { file, list: Vec::new() };
        config.check_sip(&mut problems);
        config.check_office(&mut problems);
        config.check_numbers(&line_of, &mut problems);
        if config.trace.as_ref().is_some_and(|trace| trace.hep.is_none() && trace.pcap.is_none()) {
            problems.list.push(format!("{file}: [trace] goes nowhere: give hep or pcap, or leave it out"));
        }
        for ente in &config.ente {
            let line = line_of(ente.span().start);
            let ente = ente.get_ref();
            if ente.window().opens == ente.window().cutoff {
                problems.at(line, format!("ente {}: the window opens when it closes", ente.slug));
            }
        }
        config.read_billing(&line_of, &mut problems);
        if let Some(section) = &config.mail {
            config.smtp = mail::read(section.get_ref(), line_of(section.span().start), environment, &mut problems);
        }
        config.trunks = config.read_trunks(&line_of, environment, &mut problems);
        if problems.list.is_empty() { Ok(config) } else { Err(ConfigError::Problems(problems.list)) }
    }

    fn check_sip(&self, problems: &mut Problems<'_>) {
        let tls = &self.sip.tls;
        if self.sip.udp.is_empty() && self.sip.tcp.is_empty() && tls.listen.is_empty() {
            problems.somewhere("[sip] listens nowhere: give udp, tcp or tls addresses");
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            problems.somewhere("[sip.tls] certificate and key go together");
        }
        if !tls.listen.is_empty() && tls.certificate.is_none() {
            problems.somewhere("[sip.tls] needs a certificate and its key to listen");
        }
        if tls.client_certificates != ClientCertificates::Off && tls.ca.is_none() {
            problems.somewhere("[sip.tls] client_certificates needs a `ca`: whose certificates are accepted?");
        }
        if self.sip.digests.as_ref().is_some_and(Vec::is_empty) {
            problems.somewhere("[sip] digests must name at least one");
        }
        if self.trunk.is_empty() {
            problems.somewhere("there is no [[trunk]]: nobody could call");
        }
        let (first, last) = self.sip.rtp_ports;
        if first < 1024 || last <= first {
            problems.somewhere("rtp_ports must be two ports from 1024 on, the second greater");
        }
    }

    fn read_billing(&mut self, line_of: &dyn Fn(usize) -> usize, problems: &mut Problems<'_>) {
        for index in 0..self.ente.len() {
            let (before, rest) = self.ente.split_at_mut(index);
            let Some(ente) = rest.first_mut().map(Spanned::get_mut) else { continue };
            let Some(section) = &ente.billing else { continue };
            let line = line_of(section.span().start);
            ente.billing_settings = billing::read(section.get_ref(), &ente.slug, line, problems);
            let Some(own) = &ente.billing_settings else { continue };
            let same = |other: &BillingSettings| {
                (&other.creditor, other.segregation, other.series) == (&own.creditor, own.segregation, own.series)
            };
            if before.iter().filter_map(|other| other.get_ref().billing()).any(same) {
                problems.at(
                    line,
                    format!("ente {}: [ente.billing] another ente numbers its notices alike: give it a series of its own", ente.slug),
                );
            }
        }
    }

    fn check_office(&self, problems: &mut Problems<'_>) {
        let origin = |url: &str| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|r| !r.is_empty() && r.chars().all(|c| c.is_ascii_alphanumeric() || ".:-[]".contains(c)))
        };
        if self.office.url.as_deref().is_some_and(|url| !origin(url)) {
            problems.somewhere("[office] url is a scheme and a name, without a path: https://mensa.comune.example");
        }
        if self.office.idle_minutes == Some(0) || self.office.session_hours == Some(0) {
            problems.somewhere("[office] a login must last: idle_minutes and session_hours are at least 1");
        }
    }

    fn check_numbers(&self, line_of: &dyn Fn(usize) -> usize, problems: &mut Problems<'_>) {
        let lists = || std::iter::once(&self.number).chain(self.trunk.iter().map(|t| &t.get_ref().number));
        if lists().all(Vec::is_empty) {
            problems.somewhere("there is no [[number]] and no [[trunk.number]]: nobody could call");
        }
        for list in lists() {
            for (index, number) in list.iter().enumerate() {
                let line = line_of(number.span().start);
                let number = number.get_ref();
                if !self.ente.iter().any(|ente| ente.get_ref().slug == number.ente) {
                    problems.at(line, format!("number {}: there is no ente \"{}\"", number.called, number.ente));
                }
                if list.iter().take(index).any(|other| other.get_ref().called == number.called) {
                    problems.at(line, format!("number {} is there twice", number.called));
                }
            }
        }
    }

    fn read_trunks(
        &self,
        line_of: &dyn Fn(usize) -> usize,
        environment: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems<'_>,
    ) -> Vec<Trunk> {
        let mut trunks: Vec<Trunk> = Vec::with_capacity(self.trunk.len());
        for section in &self.trunk {
            let line = line_of(section.span().start);
            let trunk = trunk::read(section.get_ref(), line, environment, problems);
            if trunks.iter().any(|other| other.name == trunk.name) {
                problems.at(line, format!("trunk {} is there twice", trunk.name));
            }
            for user in &trunk.users {
                if trunks.iter().flat_map(|t| &t.users).any(|other| other.name == user.name) {
                    problems.at(line, format!("trunk {}: user {} is another trunk's already", trunk.name, user.name));
                }
            }
            let by_udp = |peers: &[crate::telephony::sip::config::Peer]| peers.iter().any(|p| p.transport == Transport::Udp);
            let registrars = trunk.register.as_ref().is_some_and(|r| by_udp(&r.registrars));
            if self.sip.udp.is_empty() && (registrars || trunk.keepalive.as_ref().is_some_and(|k| by_udp(&k.peers))) {
                problems.at(line, format!("trunk {}: to send by UDP, [sip] needs a udp address", trunk.name));
            }
            trunks.push(trunk);
        }
        trunks
    }

    /// The database's URL.
    pub fn database_url(&self) -> Option<String> {
        std::env::var("VOCEGUIDA_DATABASE").ok().or_else(|| self.database.clone())
    }

    /// All called numbers, each with its trunk where it is one trunk's own.
    pub fn numbers(&self) -> impl Iterator<Item = (Option<&str>, &NumberSection)> {
        let own = self.trunk.iter().map(Spanned::get_ref).flat_map(|t| t.number.iter().map(|n| (Some(t.name.as_str()), n.get_ref())));
        self.number.iter().map(|n| (None, n.get_ref())).chain(own)
    }

    /// The SIP endpoint's settings.
    pub fn sip_config(&self) -> SipConfig {
        let usual = SipConfig::default();
        SipConfig {
            udp: self.sip.udp.clone(),
            tcp: self.sip.tcp.clone(),
            tls: TlsConfig {
                listen: self.sip.tls.listen.clone(),
                certificate: self.sip.tls.certificate.clone(),
                key: self.sip.tls.key.clone(),
                ca: self.sip.tls.ca.clone(),
                clients: self.sip.tls.client_certificates,
            },
            external_address: self.sip.external_address,
            realm: self.sip.realm.clone().unwrap_or(usual.realm),
            digests: self.sip.digests.clone().unwrap_or(usual.digests),
            dns: self.sip.dns.clone(),
            rtp_ports: self.sip.rtp_ports.0..=self.sip.rtp_ports.1,
            media_threads: self.sip.media_threads.unwrap_or(usual.media_threads),
            max_calls: self.sip.max_calls,
            trunks: self.trunks.clone(),
            ..usual
        }
    }

    /// The mail server, and how fast and how patiently it is spoken to.
    pub fn mail(&self) -> Option<(SmtpConfig, Pace)> {
        let section = self.mail.as_ref()?.get_ref();
        Some((self.smtp.clone()?, section.pace()))
    }

    /// How long running calls may finish at shutdown.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

#[cfg(test)]
mod tests;
