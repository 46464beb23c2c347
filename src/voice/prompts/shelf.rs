//! The prompts that each ente's calls hear: those that came with the line, and in their place what its office has recorded.
//!
//! A call takes the library of its ente when it begins and keeps it. [`Shelf::refresh`] asks the database whether something has changed and
//! loads only that; every node does so every few seconds, and at once where the change was made.

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{
    PromptLibrary,
    decode::{self, Sound},
};
use crate::{
    canteen::EnteId,
    desk::{Desk, DeskError},
    telephony::{clip::Clip, g711},
};

/// All libraries of a node.
#[derive(Debug)]
pub struct Shelf {
    /// Encode for G.722 as well?
    wideband: bool,
    state: ArcSwap<State>,
    /// One refresh at a time.
    refreshing: Mutex<()>,
}

#[derive(Debug, Clone)]
struct State {
    delivered: Arc<PromptLibrary>,
    of: HashMap<EnteId, Own>,
}

/// An ente's own recordings.
#[derive(Debug, Clone)]
struct Own {
    /// The count of changes that they are from.
    version: i64,
    /// By prompt: the recording's row, and what is sent.
    clips: BTreeMap<String, (i64, Arc<Clip>)>,
    library: Arc<PromptLibrary>,
}

impl Own {
    fn over(delivered: &PromptLibrary, version: i64, clips: BTreeMap<String, (i64, Arc<Clip>)>) -> Self {
        let library = delivered.with_clips(clips.iter().map(|(name, (_, clip))| (name.as_str(), Arc::clone(clip))));
        Self { version, clips, library: Arc::new(library) }
    }
}

impl Shelf {
    /// A shelf with what came with the line.
    pub fn new(delivered: PromptLibrary, wideband: bool) -> Self {
        let state = State { delivered: Arc::new(delivered), of: HashMap::new() };
        Self { wideband, state: ArcSwap::from_pointee(state), refreshing: Mutex::default() }
    }

    /// What came with the line.
    pub fn delivered(&self) -> Arc<PromptLibrary> {
        Arc::clone(&self.state.load().delivered)
    }

    /// What this ente's calls hear.
    pub fn library(&self, ente: EnteId) -> Arc<PromptLibrary> {
        let state = self.state.load();
        state.of.get(&ente).map_or_else(|| Arc::clone(&state.delivered), |own| Arc::clone(&own.library))
    }

    /// Other prompts have come with the line (a reload); the office's recordings stay over them.
    pub fn put_delivered(&self, fresh: PromptLibrary) {
        let fresh = Arc::new(fresh);
        self.state.rcu(|state| State {
            delivered: Arc::clone(&fresh),
            of: state.of.iter().map(|(ente, own)| (*ente, Own::over(&fresh, own.version, own.clips.clone()))).collect(),
        });
    }

    /// Loads what has changed in the database; returns whether something had.
    pub async fn refresh(&self, desk: &Desk) -> Result<bool, DeskError> {
        let _alone = self.refreshing.lock().await;
        let mut changed = false;
        for (ente, version) in desk.prompt_changes().await? {
            let had = self.state.load().of.get(&ente).cloned();
            if had.as_ref().is_some_and(|own| own.version == version) {
                continue;
            }
            let mut clips = BTreeMap::new();
            for voice in desk.voices(ente).await? {
                let known = had.as_ref().and_then(|own| own.clips.get(&voice.prompt)).filter(|(id, _)| *id == voice.recording_id);
                let clip = match known {
                    Some((_, clip)) => Some(Arc::clone(clip)),
                    None => self.encode(&voice.prompt, desk.recording_sound(ente, voice.recording_id).await?).await,
                };
                if let Some(clip) = clip {
                    clips.insert(voice.prompt, (voice.recording_id, clip));
                }
            }
            info!(ente = ente.0, version, recordings = clips.len(), "prompts of the office loaded");
            self.state.rcu(|state| {
                let mut state = State::clone(state);
                state.of.insert(ente, Own::over(&state.delivered, version, clips.clone()));
                state
            });
            changed = true;
        }
        Ok(changed)
    }

    /// `None`, and the prompt that came with the line is heard, where there is nothing to encode.
    async fn encode(&self, name: &str, samples: Option<Vec<i16>>) -> Option<Arc<Clip>> {
        let (owned, wideband) = (name.to_owned(), self.wideband);
        let clip = tokio::task::spawn_blocking(move || clip_of(&owned, &samples?, wideband)).await.ok().flatten();
        if clip.is_none() {
            warn!(prompt = name, "a recording of the office cannot be used");
        }
        clip.map(Arc::new)
    }
}

/// A recording at 16 kHz as it is sent.
pub fn clip_of(name: &str, wide: &[i16], wideband: bool) -> Option<Clip> {
    let narrow = Sound::of(wide, decode::WIDE).at(decode::NARROW).ok()?;
    let clip = Clip::from_pcm(name, &narrow);
    Some(if wideband { clip.with_wide_pcm(wide) } else { clip })
}

/// Clips one after the other as a caller hears them: a WAV file of what A-law leaves of them, at 8 kHz.
pub fn wav(clips: &[Arc<Clip>]) -> Vec<u8> {
    let spec = hound::WavSpec { channels: 1, sample_rate: decode::NARROW, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = Cursor::new(Vec::new());
    let written = hound::WavWriter::new(&mut file, spec).and_then(|mut writer| {
        for octet in clips.iter().flat_map(|clip| clip.encoded(crate::telephony::codec::Codec::Pcma)) {
            writer.write_sample(g711::alaw_decode(*octet))?;
        }
        writer.finalize()
    });
    // Into memory nothing fails; an empty file would be no sound.
    if let Err(error) = written {
        warn!(%error, "a recording cannot be written");
    }
    file.into_inner()
}
