//! A name server for the tests: a few SRV records (RFC 2782), and 127.0.0.1 for every host.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// `(name, priority, port, target)`.
pub type Srv = (&'static str, u16, u16, &'static str);

/// Answers until the process ends.
pub fn start(records: Vec<Srv>) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length], &records) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

fn answer(question: &[u8], records: &[Srv]) -> Option<Vec<u8>> {
    let (name, after) = read_name(question.get(12..)?)?;
    let kind = u16::from_be_bytes([*after.first()?, *after.get(1)?]);
    let asked = &question[12..question.len() - after.len() + 4];
    let data: Vec<Vec<u8>> = match kind {
        1 if name.ends_with(".host.test") => vec![vec![127, 0, 0, 1]],
        33 => {
            let matching = records.iter().filter(|(owner, ..)| name.eq_ignore_ascii_case(owner));
            matching.map(|(_, priority, port, target)| srv(*priority, *port, target)).collect()
        }
        _ => vec![],
    };
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, data.len() as u8, 0, 0, 0, 0]);
    answer.extend(asked);
    for record in data {
        // The name of the question, the class IN, a minute to live.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend((record.len() as u16).to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}

fn read_name(mut rest: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return Some((labels.join("."), after));
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = after;
    }
}

fn srv(priority: u16, port: u16, target: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for number in [priority, 0, port] {
        data.extend(number.to_be_bytes());
    }
    for label in target.split('.') {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}
