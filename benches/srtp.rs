//! What SRTP costs: 20 ms of audio protected, and opened at the other end, with each suite.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voceguida::telephony::rtp::srtp::{Crypto, KEY_BYTES, MasterKey, OVERHEAD, SALT_BYTES, Srtp, Suite};

const PACKET: usize = 12 + 160;

fn ends(suite: Suite) -> Option<(Srtp, Srtp)> {
    let key = |n: u8| MasterKey::new(suite, &[n; KEY_BYTES + SALT_BYTES]);
    let end = |ours, theirs| Srtp::new(&Crypto { suite, ours: key(ours), theirs: key(theirs) }).ok();
    Some((end(1, 2)?, end(2, 1)?))
}

fn packet(sequence: u16) -> [u8; PACKET + OVERHEAD] {
    let mut packet = [0; PACKET + OVERHEAD];
    packet[..2].copy_from_slice(&[0x80, 8]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

fn srtp(c: &mut Criterion) {
    for suite in Suite::ALL {
        let mut group = c.benchmark_group(suite.name());
        group.throughput(Throughput::Elements(1));
        let mut sequence = 0u16;
        let mut next = || {
            sequence = sequence.wrapping_add(1);
            packet(sequence)
        };
        let Some((mut sender, _)) = ends(suite) else { continue };
        group.bench_function("protect", |b| b.iter(|| sender.protect_rtp(&mut next(), PACKET)));
        let Some((mut sender, mut receiver)) = ends(suite) else { continue };
        group.bench_function("protect and open", |b| {
            b.iter(|| {
                let mut packet = next();
                let length = sender.protect_rtp(&mut packet, PACKET)?;
                receiver.unprotect_rtp(&mut packet[..length])
            });
        });
        group.bench_function("keys of a call", |b| b.iter(|| ends(suite)));
        group.finish();
    }
}

criterion_group!(benches, srtp);
criterion_main!(benches);
