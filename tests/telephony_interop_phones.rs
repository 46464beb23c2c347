//! Telephones of other makers dial the program as it is started, type a code and cancel a meal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

#[path = "interop_support/baresip.rs"]
mod baresip;
#[path = "interop_support/linphone.rs"]
mod linphone;
#[path = "telephony_support/pki.rs"]
mod pki;
mod support;

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use baresip::{Baresip, Setup};
use linphone::Linphone;
use pki::Authority;
use support::service::{OpenSchool, Service};
use voceguida::{telephony::phone::ClipIndex, voice::prompts::PromptLibrary};

static PROMPTS: LazyLock<Arc<ClipIndex>> =
    LazyLock::new(|| Arc::new(ClipIndex::new(&PromptLibrary::load(Path::new("prompts/it")).unwrap().clips())));

const TRUNK: &str = "sources = [\"127.0.0.0/8\"]\nsrtp = \"optional\"";

async fn school(dir: &Path, children: usize) -> OpenSchool {
    OpenSchool::open(&format!("sqlite:{}", dir.join("school.db").display()), children).await
}

/// Where the service listens over TLS.
fn free_tls() -> String {
    format!("127.0.0.1:{}", support::demo::free_port())
}

fn tls_section(address: &str, (certificate, key): (&Path, &Path)) -> String {
    format!("[sip.tls]\nlisten = [\"{address}\"]\ncertificate = \"{}\"\nkey = \"{}\"", certificate.display(), key.display())
}

/// Types the code, chooses, hears the day, confirms, and hears that it is done.
async fn cancel(phone: &mut Baresip, code: &str) {
    phone.press(code).await;
    phone.press("1").await;
    phone.wait_heard("anteprima_cancel").await;
    phone.press("1").await;
    phone.wait_heard("registrata_cancel").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_cancels_over_udp_tcp_tls_and_srtp() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let (own, phones) = (authority.sign("own", "localhost"), authority.sign("phone", "localhost"));
    let school = school(dir.path(), 4).await;
    let tls = free_tls();
    let service = Service::start(dir.path(), "service", &school, &tls_section(&tls, (&own.0, &own.1)), TRUNK);
    let trusting = || Some((authority.certificate.as_path(), (phones.0.as_path(), phones.1.as_path())));
    let ways = [
        ("UDP", service.sip.to_string(), Setup::default()),
        ("TCP", format!("{};transport=tcp", service.sip), Setup::default()),
        ("TLS", format!("{tls};transport=tls"), Setup { tls: trusting(), srtp: false }),
        ("TLS and SRTP", format!("{tls};transport=tls"), Setup { tls: trusting(), srtp: true }),
    ];
    // All at once: a call is mostly listening.
    let call = async |n: usize| {
        let (way, address, setup): &(_, _, Setup) = &ways[n];
        let (mut phone, code) = (Baresip::start(setup, &PROMPTS), &school.codes[n]);
        phone.dial(&format!("sip:800123456@{address}")).await;
        cancel(&mut phone, code).await;
        assert!(school.cancelled_once(code).await, "{way}: {:?}", school.operations(code).await);
        phone.hang_up().await;
    };
    tokio::join!(call(0), call(1), call(2), call(3));
    let calls = school.calls(4).await;
    for call in &calls {
        assert_eq!((call.cause.as_str(), call.codec.as_deref(), call.digits), ("caller_hung_up", Some("PCMA"), 9), "{call:?}");
    }
    assert_eq!(calls.iter().filter(|call| call.srtp).count(), 1, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn linphone_cancels_over_udp_and_over_tls_if_somebody_vouches_for_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, foreign) = (Authority::new(dir.path(), "authority"), Authority::new(dir.path(), "foreign"));
    let own = authority.sign("own", "localhost");
    let school = school(dir.path(), 2).await;
    let tls = free_tls();
    let service = Service::start(dir.path(), "service", &school, &tls_section(&tls, (&own.0, &own.1)), TRUNK);
    let by_udp = format!("sip:800123456@{}", service.sip);
    // By name: linphone knows no addresses in certificates.
    let by_tls = format!("sip:800123456@{};transport=tls", tls.replace("127.0.0.1", "localhost"));
    let cancels = async |ca: Option<&Path>, uri: &str, code: &str| {
        let mut phone = Linphone::start(ca);
        phone.dial(uri).await;
        phone.wait_for("Media streams established").await;
        phone.press(code).await;
        phone.press("1").await;
        // A key pressed before the day is spoken is no confirmation of it.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if !school.operations(code).await.is_empty() {
                break;
            }
            phone.press("1").await;
        }
        assert!(school.cancelled_once(code).await, "{uri}: {:?}", school.operations(code).await);
        phone.wait_loud(2_000).await;
        phone.hang_up().await;
    };
    let deceived = async {
        let mut phone = Linphone::start(Some(&foreign.certificate));
        phone.dial(&by_tls).await;
        phone.wait_for(" error.").await;
    };
    tokio::join!(cancels(None, &by_udp, &school.codes[0]), cancels(Some(&authority.certificate), &by_tls, &school.codes[1]), deceived);
    let calls = school.calls(2).await;
    assert_eq!((calls.len(), calls.iter().filter(|call| call.srtp).count()), (2, 1), "{calls:?}");
    for call in &calls {
        assert_eq!((call.cause.as_str(), call.dtmf.as_deref()), ("caller_hung_up", Some("rfc4733")), "{call:?}");
        assert!(call.user_agent.as_deref().is_some_and(|agent| agent.starts_with("Linphone")), "{call:?}");
    }
}
