use std::fs;

use super::*;
use crate::telephony::{codec::Codec, g722};

/// Energy of a frequency, relative to all, by Goertzel's method.
fn share_of(samples: &[i16], frequency: f64) -> f64 {
    let step = 2.0 * std::f64::consts::PI * frequency / 8_000.0;
    let (mut a, mut b) = (0.0, 0.0);
    for sample in samples {
        let next = f64::from(*sample) + 2.0 * step.cos() * a - b;
        (b, a) = (a, next);
    }
    let power = a * a + b * b - 2.0 * step.cos() * a * b;
    let total: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    power / (total * samples.len() as f64 / 2.0)
}

fn library(files: &[(&str, &[u8])], manifest: &str) -> (tempfile::TempDir, Result<PromptLibrary, PromptError>) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("manifest.toml"), manifest).unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let loaded = PromptLibrary::load(dir.path());
    (dir, loaded)
}

const ONE: &str = "language = \"it\"\nloudness_dbfs = -20.0\n\n[[prompt]]\nname = \"tone\"\ntext = \"Tono.\"\n";

#[test]
fn every_format_comes_out_as_the_same_tone_at_the_same_level() {
    for extension in EXTENSIONS.into_iter().chain(["aiff", "m4a"]) {
        let path = format!("tests/fixtures/audio/tone.{extension}");
        let samples = decode::decode(Path::new(&path)).unwrap().at(decode::NARROW).unwrap();
        // Half a second of a 1 kHz sine; lossy formats may add some padding.
        assert!((3_900..4_700).contains(&samples.len()), "{extension}: {}", samples.len());
        let middle = &samples[800..3_200];
        assert!(share_of(middle, 1_000.0) > 0.98, "{extension}: {}", share_of(middle, 1_000.0));
        let rms = (middle.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / middle.len() as f64).sqrt();
        // ffmpeg's sine has an amplitude of 1/8; 0.8 of it; 3 dB less in each of two channels; as RMS.
        let expected = 32_768.0 / 8.0 * 0.8 / 2f64.sqrt() / 2f64.sqrt();
        assert!((decibel(rms) - decibel(expected)).abs() < 0.5, "{extension}: {rms} {expected}");
    }
}

#[test]
fn damaged_recordings_are_told_with_file_and_line() {
    let wav = fs::read("tests/fixtures/audio/tone.wav").unwrap();
    let silent = {
        let mut bytes = wav.clone();
        let start = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
        bytes[start..].fill(0);
        bytes
    };
    for (bytes, expected) in [(&b"RIFF"[..], "is no usable recording"), (&b""[..], "is no usable recording"), (&silent, "is silent")] {
        let (_dir, loaded) = library(&[("tone.wav", bytes)], ONE);
        let said = loaded.unwrap_err().to_string();
        assert!(said.contains("manifest.toml:4: ") && said.contains(expected), "{said}");
    }
    let (_dir, loaded) = library(&[], ONE);
    assert!(loaded.unwrap_err().to_string().contains("manifest.toml:4: the prompt \"tone\" has no recording tone.wav"));
    // Cut in the middle: what is there is used, or it is refused; it never panics.
    for cut in [20, 44, 100, 5_000] {
        let (_dir, _loaded) = library(&[("tone.wav", &wav[..cut])], ONE);
    }
}

#[test]
fn the_manifest_is_checked() {
    let (_dir, loaded) = library(&[], "language = \"it\"\nloudness = 3\n");
    assert!(loaded.unwrap_err().to_string().contains("manifest.toml:2: unknown field"));
    let twice = format!("{ONE}\n[[prompt]]\nname = \"tone\"\ntext = \"Tono.\"\n\n[[prompt]]\nname = \"../etc\"\ntext = \"\"\n");
    let (_dir, loaded) = library(&[], &twice);
    let said = loaded.unwrap_err().to_string();
    assert!(
        said.contains("manifest.toml:8: the prompt \"tone\" is there twice")
            && said.contains("manifest.toml:12: \"../etc\" is no prompt name"),
        "{said}"
    );
}

#[test]
fn what_the_office_brings_goes_before_what_was_spoken_here() {
    let read = |name: &str| fs::read(format!("tests/fixtures/audio/{name}")).unwrap();
    let (_dir, loaded) = library(&[("tone.wav", b"broken"), ("tone.mp3", &read("tone.mp3")), ("altro.wav", b"")], ONE);
    let library = loaded.unwrap();
    assert_eq!(library.text("tone"), Some("Tono."));
    assert!(library.clip("tone").unwrap().frames() >= 25 && library.clip("altro").is_none());
    assert!(library.warnings().iter().any(|w| w.contains("altro.wav is used by no prompt")), "{:?}", library.warnings());
}

#[test]
fn the_prompts_that_ship_are_all_there_at_the_same_loudness() {
    let library = PromptLibrary::load(Path::new("prompts/it")).unwrap();
    assert!(library.len() > 150);
    assert_eq!(library.warnings(), &[] as &[String]);
    for name in crate::voice::speech::all_names() {
        let clip = library.clip(&name).unwrap_or_else(|| panic!("no prompt {name}"));
        assert!((100..2_000).contains(&clip.duration_ms()), "{name}: {} ms", clip.duration_ms());
    }
}

#[test]
fn wideband_prompts_have_the_sound_above_the_telephones_band() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("manifest.toml"), ONE).unwrap();
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(dir.path().join("tone.wav"), spec).unwrap();
    for n in 0..16_000 {
        let angle = |hz: f64| f64::from(n) * hz / 16_000.0 * std::f64::consts::TAU;
        file.write_sample((4_000.0 * (angle(1_000.0).sin() + angle(6_000.0).sin())) as i16).unwrap();
    }
    file.finalize().unwrap();
    let narrow = PromptLibrary::load(dir.path()).unwrap().clip("tone").unwrap();
    assert_eq!((narrow.encoded(Codec::Pcma).len(), narrow.encoded(Codec::G722)), (8_000, &[][..]));
    let wide = PromptLibrary::load_wideband(dir.path()).unwrap().clip("tone").unwrap();
    assert_eq!((wide.encoded(Codec::Pcma), wide.encoded(Codec::G722).len()), (narrow.encoded(Codec::Pcma), 8_000));
    let mut decoder = g722::Decoder::default();
    let decoded: Vec<i16> = wide.encoded(Codec::G722).iter().flat_map(|octet| decoder.decode(*octet)).collect();
    // The measure is for 8 kHz: at 16 kHz the tones lie at half their places.
    for hz in [500.0, 3_000.0] {
        assert!((0.4..0.6).contains(&share_of(&decoded[4_000..12_000], hz)), "{hz}: {}", share_of(&decoded[4_000..12_000], hz));
    }
}
