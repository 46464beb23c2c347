//! Why a call ended, and how it sounded, in plain Italian: pure.

/// What the telephone network says of the end (Q.850), for somebody who has never heard of it.
pub fn cause_in_words(q850: i64) -> &'static str {
    match q850 {
        1 => "il numero chiamato non esiste",
        2 | 3 => "la rete non trova una strada fino al numero",
        16 => "chiusura normale",
        17 => "occupato",
        18 | 19 => "nessuno ha risposto",
        20 => "il telefono era spento o senza campo",
        21 => "chiamata rifiutata",
        22 => "il numero è cambiato",
        25 => "la rete non trova la strada",
        26 => "la chiamata è passata a un altro apparecchio",
        27 => "l'apparecchio chiamato non funziona",
        28 => "numero incompleto o scritto male",
        29 => "un servizio richiesto è stato rifiutato",
        31 => "chiusura normale, senza altre indicazioni",
        34 | 44 => "nessuna linea libera",
        38 => "la rete dell'operatore non funziona",
        41 => "guasto momentaneo",
        42 => "la rete dell'operatore è sovraccarica",
        47 => "mancano risorse nella rete",
        50 | 55 | 57 | 63 => "servizio non permesso o non disponibile",
        58 | 65 | 88 => "i due apparecchi non hanno un modo comune di trasmettere la voce",
        69 | 79 => "servizio non previsto",
        87 | 95 | 96 | 97 | 99 | 100 | 101 | 111 => "messaggio della rete non valido",
        102 => "l'altra parte non ha risposto in tempo",
        127 => "errore non precisato tra reti diverse",
        _ => "causa non precisata",
    }
}

/// How we answered the call (SIP).
pub fn status_in_words(status: i64) -> &'static str {
    match status {
        200..300 => "risposta",
        401 | 403 | 407 => "non autorizzata",
        404 => "il numero chiamato non è del servizio",
        408 => "tempo scaduto",
        415 | 488 | 606 => "nessun modo comune di trasmettere la voce",
        420 | 421 => "l'operatore ha chiesto una funzione che il servizio non ha",
        422 => "durata della sessione troppo breve",
        480 => "non raggiungibile",
        481 => "chiamata sconosciuta",
        482 => "la stessa chiamata è arrivata due volte",
        486 | 600 => "occupato",
        487 => "il chiamante ha rinunciato prima della risposta",
        500..503 => "errore del servizio",
        503 => "nessun posto libero",
        504 => "tempo scaduto verso un altro server",
        603 => "rifiutata",
        400..500 => "richiesta non valida",
        _ => "non riuscita",
    }
}

/// Our own word for the end, as it stands in the record.
pub fn end_in_words(cause: &str) -> &str {
    match cause {
        "caller_hung_up" => "ha riagganciato chi ha chiamato",
        "we_hung_up" => "ha chiuso il servizio, alla fine del percorso",
        "abandoned" => "chi ha chiamato ha rinunciato prima della risposta",
        "shutdown" => "il servizio si stava fermando",
        "no ACK" => "l'operatore non ha confermato la risposta",
        "no usable answer in ACK" => "l'operatore non ha indicato come trasmettere la voce",
        "dead media" => "la voce non arrivava più: linea caduta",
        "media gone" => "guasto del servizio",
        "longest call" => "durata massima raggiunta",
        "session expired" | "session refresh unanswered" => "l'operatore non ha più dato segni di vita",
        "challenged in the call" => "l'operatore ha chiesto una password durante la chiamata",
        "refused: unknown number" => "il numero chiamato non è del servizio",
        other => other,
    }
}

/// A mean opinion score (times 100) in a word.
pub fn quality_in_words(mos: i64) -> &'static str {
    match mos {
        400.. => "ottima",
        360.. => "buona",
        310.. => "discreta",
        260.. => "scarsa",
        _ => "pessima",
    }
}

/// Hundredths as Italians write them: "4,31".
pub fn hundredths(n: i64) -> String {
    format!("{},{:02}", n / 100, n % 100)
}

/// Loss, jitter and score, as far as they are known: "buona (perdita 0,40%, jitter 1,9 ms, MOS 4,31)".
pub fn sound_in_words(loss: Option<i64>, jitter_us: Option<i64>, mos: Option<i64>) -> Option<String> {
    let mos = mos?;
    let loss = loss.map(|n| format!("perdita {}%, ", hundredths(n)));
    let jitter = jitter_us.map(|us| format!("jitter {},{} ms, ", us / 1_000, us % 1_000 / 100));
    let (loss, jitter) = (loss.unwrap_or_default(), jitter.unwrap_or_default());
    Some(format!("{} ({loss}{jitter}MOS {})", quality_in_words(mos), hundredths(mos)))
}

/// A number of seconds: "1 min 5 s".
pub fn length_in_words(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s} s"),
        (m, 0) => format!("{m} min"),
        (m, s) => format!("{m} min {s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_sounded_and_why_it_ended() {
        assert_eq!(sound_in_words(Some(40), Some(1_950), Some(431)).as_deref(), Some("ottima (perdita 0,40%, jitter 1,9 ms, MOS 4,31)"));
        assert_eq!(sound_in_words(None, None, Some(259)).as_deref(), Some("pessima (MOS 2,59)"));
        assert_eq!(sound_in_words(Some(40), None, None), None);
        assert_eq!([5, 60, 65].map(length_in_words), ["5 s", "1 min", "1 min 5 s"]);
        assert_eq!((cause_in_words(16), cause_in_words(-3)), ("chiusura normale", "causa non precisata"));
        assert_eq!((status_in_words(503), status_in_words(200)), ("nessun posto libero", "risposta"));
    }
}
