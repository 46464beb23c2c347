//! Handing mail to a server (SMTP, RFC 5321). Knows nothing of what it says.

use std::{fmt, path::PathBuf, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Attachment, Mailbox, MultiPart, SinglePart, header},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
    },
};

/// How long the server may take for each of its answers.
const ANSWER: Duration = Duration::from_mins(1);
/// How long handing over one mail may take in all.
pub const WHOLE: Duration = Duration::from_mins(5);
/// The longest answer that is kept, in characters.
const LONGEST_ANSWER: usize = 500;

/// How the connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// It begins in the clear and must change to TLS (RFC 3207).
    #[default]
    Starttls,
    /// TLS from the first octet (RFC 8314).
    Tls,
    /// In the clear: for a server on the same machine or network.
    None,
}

impl Security {
    /// The usual port.
    pub fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Which server, and who we are there.
#[derive(Clone)]
pub struct SmtpConfig {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub security: Security,
    /// Whose signature on its certificate is accepted besides the system's list (PEM).
    pub ca: Option<PathBuf>,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// The sender.
    pub from: Address,
    /// The name we say we have (EHLO); the sender's domain where not told.
    pub hello: Option<String>,
}

impl fmt::Debug for SmtpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_ref().map(|(user, _)| user);
        write!(f, "SmtpConfig({}:{} {:?} user {user:?} from {})", self.host, self.port, self.security, self.from)
    }
}

/// How patiently, and how fast, mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Attempts in a minute, of all nodes together.
    pub per_minute: u32,
    /// How long a mail that is not taken is tried again.
    pub give_up_after: TimeDelta,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_minute: 60, give_up_after: TimeDelta::hours(72) }
    }
}

/// Why there is no way to a server.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// TLS, or its certificates.
    #[error("mail: {0}")]
    Tls(String),
    /// A file that is named.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
}

/// A mail as it is handed over. No `Debug`: letters hold codes.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "letters hold codes")]
pub struct Outgoing {
    /// The Message-ID's left half: the same in every attempt, so that a mail that arrives twice can be told to be one.
    pub token: String,
    /// The sender's name.
    pub from_name: String,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// Address.
    pub recipient: String,
    /// The addressee's name.
    pub recipient_name: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub body: String,
    /// The date in it: when it was queued.
    pub date: DateTime<Utc>,
    /// Files: name, media type, content.
    pub attachments: Vec<(String, String, Vec<u8>)>,
}

/// What became of an attempt, with the server's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The server has taken it over.
    Sent(String),
    /// It will never take this one (5yz).
    Refused(String),
    /// It may take it later (4yz).
    Later(String),
    /// The server is away, or does not want us: says nothing about this mail.
    Away(String),
}

/// Whoever can hand mail over.
pub trait Courier: Send + Sync {
    /// Hands one over.
    fn send(&self, mail: &Outgoing) -> impl Future<Output = Delivery> + Send;
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
}

impl Smtp {
    /// A way to this server. Connects only to send.
    pub fn new(config: &SmtpConfig) -> Result<Self, SmtpError> {
        let wrong = |error: lettre::transport::smtp::Error| SmtpError::Tls(error.to_string());
        let tls = || -> Result<TlsParameters, SmtpError> {
            let mut parameters = TlsParameters::builder(config.host.clone());
            if let Some(path) = &config.ca {
                let pem = std::fs::read(path).map_err(|error| SmtpError::Read(path.display().to_string(), error))?;
                parameters = parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(wrong)?);
            }
            parameters.build_rustls().map_err(wrong)
        };
        let security = match config.security {
            Security::Starttls => Tls::Required(tls()?),
            Security::Tls => Tls::Wrapper(tls()?),
            Security::None => Tls::None,
        };
        let hello = config.hello.clone().unwrap_or_else(|| config.from.domain().to_owned());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(security)
            .timeout(Some(ANSWER))
            .hello_name(ClientId::Domain(hello));
        if let Some((user, password)) = &config.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Self { transport: builder.build(), from: config.from.clone() })
    }

    fn compose(&self, mail: &Outgoing) -> Result<Message, String> {
        let mailbox = |name: &str, address: Address| Mailbox::new(Some(one_line(name)).filter(|name| !name.is_empty()), address);
        let to: Address = mail.recipient.parse().map_err(|_| "the address is none".to_owned())?;
        let mut message = Message::builder()
            .message_id(Some(format!("<{}@{}>", mail.token, self.from.domain())))
            .date(mail.date.into())
            .from(mailbox(&mail.from_name, self.from.clone()))
            .to(mailbox(&mail.recipient_name, to))
            .subject(one_line(&mail.subject))
            // Nobody's absence is to be answered (RFC 3834, 5).
            .raw_header(header::HeaderValue::new(header::HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
        if let Some(reply_to) = mail.reply_to.as_ref().and_then(|address| address.parse().ok()) {
            message = message.reply_to(mailbox(&mail.from_name, reply_to));
        }
        let text = SinglePart::plain(mail.body.clone());
        let whole = if mail.attachments.is_empty() {
            message.singlepart(text)
        } else {
            let mut parts = MultiPart::mixed().singlepart(text);
            for (name, media_type, content) in &mail.attachments {
                let media_type = header::ContentType::parse(media_type).map_err(|error| error.to_string())?;
                parts = parts.singlepart(Attachment::new(one_line(name)).body(content.clone(), media_type));
            }
            message.multipart(parts)
        };
        whole.map_err(|error| error.to_string())
    }

    async fn hand_over(&self, mail: &Outgoing) -> Delivery {
        let message = match self.compose(mail) {
            Ok(message) => message,
            Err(why) => return Delivery::Refused(short(&why)),
        };
        match self.transport.send(message).await {
            Ok(response) => Delivery::Sent(short(&format!("{} {}", response.code(), response.message().collect::<Vec<_>>().join(" ")))),
            Err(error) => {
                let answer = short(&told(&error));
                if error.is_permanent() {
                    // A server that takes no mail at all, or not from us, answers 5yz too: then it is not about this one.
                    match self.transport.test_connection().await {
                        Ok(true) => Delivery::Refused(answer),
                        _ => Delivery::Away(answer),
                    }
                } else if error.is_transient() {
                    Delivery::Later(answer)
                } else {
                    Delivery::Away(answer)
                }
            }
        }
    }
}

impl Courier for Smtp {
    async fn send(&self, mail: &Outgoing) -> Delivery {
        match tokio::time::timeout(WHOLE, self.hand_over(mail)).await {
            Ok(delivery) => delivery,
            Err(_) => Delivery::Later("the server did not answer in time".to_owned()),
        }
    }
}

/// The error with what caused it: the server's words stand there.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A header is one line, whatever was typed.
fn one_line(text: &str) -> String {
    text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn short(text: &str) -> String {
    one_line(text).chars().take(LONGEST_ANSWER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp() -> Smtp {
        let config = SmtpConfig {
            host: "localhost".into(),
            port: 25,
            security: Security::None,
            ca: None,
            credentials: None,
            from: "mensa@comune.example".parse().unwrap(),
            hello: None,
        };
        Smtp::new(&config).unwrap()
    }

    fn mail() -> Outgoing {
        Outgoing {
            token: "0001".into(),
            from_name: "Comune di Prova".into(),
            reply_to: Some("scuola@comune.example".into()),
            recipient: "ada@famiglia.example".into(),
            recipient_name: "Ada Nicolò".into(),
            subject: "Lettera codici e credenziali".into(),
            body: "Gentile famiglia, è arrivata.".into(),
            date: "2026-10-12T16:30:00Z".parse().unwrap(),
            attachments: vec![],
        }
    }

    #[test]
    fn every_attempt_at_a_mail_is_the_same_mail() {
        let text = |mail: &Outgoing| String::from_utf8(smtp().compose(mail).unwrap().formatted()).unwrap();
        assert_eq!(text(&mail()), text(&mail()));
        insta::assert_snapshot!(text(&mail()).replace('\r', ""));
    }

    #[test]
    fn what_is_typed_into_a_subject_or_a_name_makes_no_header() {
        let sly = "x\r\nBcc: tutti@famiglia.example\r\n\r\nciao";
        let mail = Outgoing { subject: sly.into(), recipient_name: sly.into(), from_name: sly.into(), ..mail() };
        let text = String::from_utf8(smtp().compose(&mail).unwrap().formatted()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        let envelope = smtp().compose(&mail).unwrap().envelope().clone();
        assert_eq!(envelope.to().len(), 1);
        assert!(smtp().compose(&Outgoing { recipient: "a@b.example\r\nRCPT TO:<c@d.example>".into(), ..mail.clone() }).is_err());
    }
}
