//! Call detail records as a file that a spreadsheet in an Italian office opens with a double click.

use chrono::{DateTime, Utc};

use super::{
    calls::{ListedCall, Outcome, masked},
    export::{harmless, push_record},
};
use crate::canteen::window::Window;

/// The columns.
const HEADINGS: [&str; 29] = [
    "Inizio",
    "Squillo",
    "Risposta",
    "Fine",
    "Durata (s)",
    "Fascio",
    "Chiamante",
    "Chiamato",
    "Chiamato in origine",
    "Stato SIP",
    "Causa",
    "Causa Q.850",
    "Esito",
    "Ultimo passo",
    "Motivo della rete",
    "Chiuso da",
    "Codec",
    "Cifrato",
    "Tasti",
    "Toni",
    "Pacchetti inviati",
    "Pacchetti ricevuti",
    "Pacchetti persi",
    "Perdita (%)",
    "Jitter (ms)",
    "MOS",
    "Apparato",
    "Id SIP",
    "Id",
];

/// How the records are written.
#[derive(Debug, Clone, Copy)]
pub struct CallFile {
    /// Instants are shown in this window's time zone.
    pub window: Window,
    /// Callers' numbers whole: they are personal data.
    pub whole_numbers: bool,
}

impl CallFile {
    /// The heading: UTF-8 with a byte order mark and semicolons, as an Italian Excel expects.
    pub fn heading() -> String {
        let mut csv = String::from("\u{feff}");
        push_record(&mut csv, &HEADINGS);
        csv
    }

    /// The lines of these records. Texts that a spreadsheet would take for a formula are made harmless.
    pub fn lines(&self, calls: &[ListedCall]) -> String {
        let mut csv = String::new();
        for call in calls {
            let fields = self.fields(call);
            let fields: Vec<_> = fields.iter().map(String::as_str).collect();
            push_record(&mut csv, &fields);
        }
        csv
    }

    fn fields(&self, listed: &ListedCall) -> [String; HEADINGS.len()] {
        let call = &listed.row;
        let local = |at: DateTime<Utc>| self.window.local(at).format("%d/%m/%Y %H:%M:%S").to_string();
        let text = |text: &Option<String>| harmless(text.as_deref().unwrap_or_default());
        let number = |number: Option<i64>| number.map(|n| n.to_string()).unwrap_or_default();
        // Italian spreadsheets expect a comma.
        let decimal = |hundredths: Option<i64>| hundredths.map(|n| format!("{},{:02}", n / 100, n % 100)).unwrap_or_default();
        let caller = match &call.caller {
            Some(number) if self.whole_numbers => harmless(number),
            Some(number) => harmless(&masked(number)),
            None => "riservato".to_owned(),
        };
        let released_by = match call.released_by.as_deref() {
            Some("caller") => "chiamante",
            Some("line") => "servizio",
            _ => "",
        };
        [
            local(call.started_at),
            call.ringing_at.map(local).unwrap_or_default(),
            call.answered_at.map(local).unwrap_or_default(),
            local(call.ended_at),
            listed.seconds.to_string(),
            harmless(&call.trunk),
            caller,
            harmless(&call.called),
            text(&call.diverted_from),
            call.status.to_string(),
            harmless(&call.cause),
            number(call.q850),
            Outcome::of_word(&listed.outcome).map_or("", Outcome::label).to_owned(),
            text(&listed.last_step),
            text(&call.reason),
            released_by.to_owned(),
            text(&call.codec),
            if call.srtp { "sì" } else { "no" }.to_owned(),
            call.digits.to_string(),
            text(&call.dtmf),
            call.packets_sent.to_string(),
            call.packets_received.to_string(),
            number(call.packets_lost),
            decimal(call.loss),
            decimal(call.jitter_us.map(|us| us / 10)),
            decimal(call.mos),
            text(&call.user_agent),
            harmless(&call.sip_call_id),
            call.id.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::calls::CallRow;

    fn call() -> ListedCall {
        let last_step = Some("altro".to_owned());
        ListedCall { row: record(), seconds: 65, outcome: "registered".into(), dialplan_id: None, last_step, path: None }
    }

    fn record() -> CallRow {
        let at = |text: &str| text.parse().expect("an instant");
        CallRow {
            id: "6f1e".into(),
            ente_id: Some(1),
            sip_call_id: "=cmd()@192.0.2.9".into(),
            trunk: "operatore".into(),
            caller: Some("+393471234567".into()),
            called: "800123456".into(),
            diverted_from: Some("0182970000".into()),
            peer: "192.0.2.9:5060".into(),
            user_agent: Some("SBC; v1".into()),
            started_at: at("2026-10-12T16:30:00.250Z"),
            ringing_at: None,
            answered_at: Some(at("2026-10-12T16:30:00.300Z")),
            ended_at: at("2026-10-12T16:31:05.900Z"),
            status: 200,
            cause: "caller_hung_up".into(),
            q850: Some(16),
            reason: Some("Q.850;cause=16".into()),
            released_by: Some("caller".into()),
            codec: Some("PCMA".into()),
            srtp: false,
            packets_sent: 3_280,
            packets_received: 3_276,
            packets_lost: Some(4),
            loss: Some(12),
            jitter_us: Some(2_345),
            mos: Some(431),
            digits: 9,
            dtmf: Some("rfc4733".into()),
        }
    }

    #[test]
    fn callers_numbers_are_masked_unless_asked_for() {
        let file = |whole_numbers| CallFile { window: Window::default(), whole_numbers };
        let refused = ListedCall {
            row: CallRow {
                caller: None,
                answered_at: None,
                codec: None,
                loss: None,
                jitter_us: None,
                mos: None,
                released_by: None,
                status: 404,
                cause: "refused: unknown number".into(),
                ..record()
            },
            seconds: 0,
            outcome: "refused".into(),
            last_step: None,
            ..call()
        };
        let csv = format!("{}{}{}", CallFile::heading(), file(false).lines(&[call(), refused]), file(true).lines(&[call()]));
        insta::assert_snapshot!(csv.replace('\r', "␍").replace('\u{feff}', "<BOM>"));
    }

    #[test]
    fn every_column_has_its_heading() {
        let file = CallFile { window: Window::default(), whole_numbers: true };
        let csv = CallFile::heading() + &file.lines(&[call()]);
        let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(&csv.as_bytes()[3..]);
        let headings = reader.headers().expect("headings").clone();
        let record = reader.records().next().expect("a record").expect("well formed");
        assert_eq!(record.len(), headings.len());
        let column = |name: &str| headings.iter().position(|h| h == name).and_then(|at| record.get(at));
        assert_eq!(
            (column("Durata (s)"), column("Perdita (%)"), column("Jitter (ms)"), column("MOS")),
            (Some("65"), Some("0,12"), Some("2,34"), Some("4,31"))
        );
        assert_eq!((column("Chiamante"), column("Id SIP")), (Some("'+393471234567"), Some("'=cmd()@192.0.2.9")));
    }
}
