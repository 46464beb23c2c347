//! What 20 ms of a call cost the detector of keys as tones: decoding A-law, and listening.

use std::{hint::black_box, path::Path};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voceguida::{
    telephony::{
        clip::FRAME_SAMPLES,
        g711,
        phone::{keys::Key, sound},
        rtp::inband::ToneDetector,
    },
    voice::prompts::PromptLibrary,
};

/// A prompt as it is sent.
fn speech() -> Vec<u8> {
    let library = PromptLibrary::load(Path::new("prompts/it")).ok();
    let clip = library.and_then(|library| library.clip("benvenuto"));
    clip.map(|clip| (0..clip.frames()).filter_map(|n| clip.alaw_frame(n)).flatten().copied().collect()).unwrap_or_default()
}

fn dtmf(c: &mut Criterion) {
    let held = Key::new('5').map(|key| (0..50).flat_map(|tick| sound::tone(key, tick, true)).collect()).unwrap_or_default();
    let silence = vec![0xd5; 50 * FRAME_SAMPLES];
    let mut group = c.benchmark_group("dtmf");
    group.throughput(Throughput::Elements(1));
    for (name, audio) in [("silence", silence), ("speech", speech()), ("a key held", held)] {
        let frames: Vec<&[u8]> = audio.chunks_exact(FRAME_SAMPLES).collect();
        let mut detector = ToneDetector::default();
        let mut next = frames.iter().cycle();
        group.bench_function(format!("20 ms of {name}"), |b| {
            b.iter(|| {
                let frame = next.next().copied().unwrap_or_default();
                detector.hear(frame.iter().map(|octet| g711::alaw_decode(*octet)), |key| {
                    black_box(key);
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, dtmf);
criterion_main!(benches);
