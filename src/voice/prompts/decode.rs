//! Any recording (WAV, AIFF, FLAC, OGG Vorbis, MP3, M4A) to mono samples at the telephone's rates.

use std::{fs::File, io::Cursor, path::Path};

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};
use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error as SymphoniaError,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::{MediaSource, MediaSourceStream},
    meta::MetadataOptions,
};

/// The telephone's sample rate, in Hz.
pub const NARROW: u32 = 8_000;
/// The sample rate of wideband telephony, in Hz.
pub const WIDE: u32 = 16_000;
/// The largest file that is read.
const MOST_BYTES: u64 = 20 * 1024 * 1024;
/// The longest recording, in seconds.
pub const LONGEST_S: u32 = 300;
/// Sample rates that recordings have. A header can claim any: the resampler's tables would grow with it.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// Channels that recordings have.
const MOST_CHANNELS: usize = 32;

/// Why a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// More than 20 MiB.
    #[error("is larger than 20 MiB")]
    TooLarge,
    /// No format that we know, or damaged.
    #[error("is no usable recording: {0}")]
    Format(String),
    /// Longer than this many seconds.
    #[error("is longer than {0} seconds")]
    TooLong(u32),
    /// Nothing in it.
    #[error("is empty")]
    Empty,
}

impl From<SymphoniaError> for DecodeError {
    fn from(error: SymphoniaError) -> Self {
        Self::Format(error.to_string())
    }
}

/// A recording as it came out of its file, mixed down.
#[derive(Debug, Clone)]
pub struct Sound {
    mono: Vec<f32>,
    rate: u32,
}

impl Sound {
    /// A sound that is samples already.
    pub fn of(samples: &[i16], rate: u32) -> Self {
        Self { mono: samples.iter().map(|s| f32::from(*s) / 32_768.0).collect(), rate }
    }

    /// Its samples as they came.
    pub fn mono(&self) -> &[f32] {
        &self.mono
    }

    /// Its own sample rate, in Hz.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Its samples at [`NARROW`] or [`WIDE`].
    pub fn at(&self, rate: u32) -> Result<Vec<i16>, DecodeError> {
        let pcm = |mono: &[f32]| mono.iter().map(|s| (s * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect();
        Ok(if self.rate == rate { pcm(&self.mono) } else { pcm(&resample(&self.mono, self.rate, rate)?) })
    }
}

/// Reads a recording.
pub fn decode(path: &Path) -> Result<Sound, DecodeError> {
    let file = File::open(path)?;
    if file.metadata()?.len() > MOST_BYTES {
        return Err(DecodeError::TooLarge);
    }
    read(Box::new(file), path, LONGEST_S)
}

/// Reads a recording of at most `longest_s` seconds that is in memory; `name` is its file's, whose ending helps to guess the format.
pub fn decode_bytes(bytes: Vec<u8>, name: &str, longest_s: u32) -> Result<Sound, DecodeError> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(DecodeError::TooLarge);
    }
    read(Box::new(Cursor::new(bytes)), Path::new(name), longest_s)
}

fn read(source: Box<dyn MediaSource>, path: &Path, longest_s: u32) -> Result<Sound, DecodeError> {
    let (mono, rate) = read_mono(source, path, longest_s)?;
    if mono.is_empty() { Err(DecodeError::Empty) } else { Ok(Sound { mono, rate }) }
}

fn read_mono(source: Box<dyn MediaSource>, path: &Path, longest_s: u32) -> Result<(Vec<f32>, u32), DecodeError> {
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(source, symphonia::core::io::MediaSourceStreamOptions::default());
    let mut format = symphonia::default::get_probe().probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())?;
    let none = || DecodeError::Format("no audio track".to_owned());
    let track = format.default_track(TrackType::Audio).ok_or_else(none)?;
    let track_id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or_else(none)?;
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default())?;
    let (mut mono, mut rate, mut interleaved) = (Vec::new(), NARROW, Vec::<f32>::new());
    while let Some(packet) = format.next_packet()? {
        if packet.track_id != track_id {
            continue;
        }
        let audio = decoder.decode(&packet)?;
        let channels = audio.spec().channels().count().max(1);
        rate = audio.spec().rate();
        if !RATES.contains(&rate) || channels > MOST_CHANNELS {
            return Err(DecodeError::Format(format!("{rate} Hz, {channels} channels")));
        }
        interleaved.resize(audio.samples_interleaved(), 0.0);
        audio.copy_to_slice_interleaved(&mut interleaved);
        mono.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32));
        if mono.len() as u64 > u64::from(rate) * u64::from(longest_s) {
            return Err(DecodeError::TooLong(longest_s));
        }
    }
    Ok((mono, rate))
}

fn resample(mono: &[f32], from: u32, to: u32) -> Result<Vec<f32>, DecodeError> {
    let bad = |e: String| DecodeError::Format(e);
    let mut resampler = Fft::<f32>::new(from as usize, to as usize, 1_024, 1, FixedSync::Input).map_err(|e| bad(e.to_string()))?;
    let input = InterleavedSlice::new(mono, 1, mono.len()).map_err(|e| bad(e.to_string()))?;
    let output = resampler.process_all(&input, mono.len(), None).map_err(|e| bad(e.to_string()))?;
    Ok(output.take_data())
}
