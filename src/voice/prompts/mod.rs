//! The prompt library: a manifest of texts and a recording of each, decoded once (design §7).

mod decode;
pub mod examine;
mod shelf;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::Deserialize;
use serde_spanned::Spanned;

pub use decode::{DecodeError, LONGEST_S};
pub use shelf::{Shelf, clip_of, wav};

use crate::telephony::clip::Clip;

/// The formats looked for, best first: what the office brings goes before the WAV that was spoken here.
const EXTENSIONS: [&str; 4] = ["flac", "ogg", "mp3", "wav"];
/// How far from the manifest's loudness a recording may be before it is worth a word, in dB.
const LOUDNESS_TOLERANCE_DB: f64 = 6.0;
/// More silence than this before the first word makes the line seem slow, in ms.
const LONGEST_LEAD_MS: usize = 300;
/// RMS under which a recording is silent, in dB below full scale.
const SILENT_DB: f64 = -60.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[expect(dead_code, reason = "for people and for prompts/speak")]
    language: String,
    loudness_dbfs: f64,
    prompt: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    text: String,
    #[expect(dead_code, reason = "for prompts/speak")]
    say: Option<String>,
    kind: Option<String>,
}

/// Everything that keeps a library from being used.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The manifest cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// Each with file and line.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
}

/// All prompts, ready to be sent. Immutable; a reload makes a new one. A clone shares the recordings.
#[derive(Debug, Clone)]
pub struct PromptLibrary {
    prompts: BTreeMap<String, Prompt>,
    warnings: Vec<String>,
    loudness_dbfs: f64,
}

#[derive(Debug, Clone)]
struct Prompt {
    text: String,
    /// Is it joined to others (weekday, number, month)?
    part: bool,
    clip: Arc<Clip>,
}

impl PromptLibrary {
    /// Reads `manifest.toml` in `directory` and a recording of every prompt in it, for calls in G.711.
    pub fn load(directory: &Path) -> Result<Self, PromptError> {
        Self::load_for(directory, false)
    }

    /// As [`Self::load`], for calls in G.722 as well: half as much memory again, and an encoder that takes its time.
    pub fn load_wideband(directory: &Path) -> Result<Self, PromptError> {
        Self::load_for(directory, true)
    }

    fn load_for(directory: &Path, wideband: bool) -> Result<Self, PromptError> {
        let path = directory.join("manifest.toml");
        let file = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|e| PromptError::Read(path.clone(), e))?;
        let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        let manifest: Manifest = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            PromptError::Problems(vec![format!("{file}:{line}: {}", e.message())])
        })?;
        let entries: Vec<_> = manifest.prompt.iter().map(|e| (line_of(e.span().start), e.get_ref())).collect();
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for (line, entry) in &entries {
            if !is_name(&entry.name) {
                problems.push(format!("{file}:{line}: \"{}\" is no prompt name: use a-z, 0-9 and _", entry.name));
            } else if !seen.insert(&entry.name) {
                problems.push(format!("{file}:{line}: the prompt \"{}\" is there twice", entry.name));
            }
        }
        if !problems.is_empty() {
            return Err(PromptError::Problems(problems));
        }
        let names: Vec<_> = entries.iter().map(|(_, entry)| entry.name.as_str()).collect();
        let (mut prompts, mut warnings) = (BTreeMap::new(), Vec::new());
        for ((line, entry), recording) in entries.iter().zip(load_all(directory, &names, wideband)) {
            match recording {
                Ok(recording) => {
                    warnings.extend(recording.warnings(manifest.loudness_dbfs));
                    let prompt =
                        Prompt { text: entry.text.clone(), part: entry.kind.as_deref() == Some("part"), clip: Arc::new(recording.clip) };
                    prompts.insert(entry.name.clone(), prompt);
                }
                Err(problem) => problems.push(format!("{file}:{line}: {problem}")),
            }
        }
        warnings.extend(unused(directory, &prompts));
        if problems.is_empty() {
            Ok(Self { prompts, warnings, loudness_dbfs: manifest.loudness_dbfs })
        } else {
            Err(PromptError::Problems(problems))
        }
    }

    /// The prompt of this name.
    pub fn clip(&self, name: &str) -> Option<Arc<Clip>> {
        self.prompts.get(name).map(|p| Arc::clone(&p.clip))
    }

    /// What it says.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.prompts.get(name).map(|p| p.text.as_str())
    }

    /// Is it a piece that is joined to others, such as a weekday?
    pub fn is_part(&self, name: &str) -> bool {
        self.prompts.get(name).is_some_and(|p| p.part)
    }

    /// The names of all prompts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(String::as_str)
    }

    /// How loud the recordings are: RMS in dB below full scale.
    pub fn loudness_dbfs(&self) -> f64 {
        self.loudness_dbfs
    }

    /// The same library with other recordings of some prompts; of what it has not, nothing is taken.
    #[must_use]
    pub fn with_clips<'a>(&self, clips: impl IntoIterator<Item = (&'a str, Arc<Clip>)>) -> Self {
        let mut library = self.clone();
        for (name, clip) in clips {
            if let Some(prompt) = library.prompts.get_mut(name) {
                prompt.clip = clip;
            }
        }
        library
    }

    /// Every prompt.
    pub fn clips(&self) -> Vec<Arc<Clip>> {
        self.prompts.values().map(|p| Arc::clone(&p.clip)).collect()
    }

    /// Is there a prompt of this name?
    pub fn contains(&self, name: &str) -> bool {
        self.prompts.contains_key(name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// What is not wrong but would be heard: too loud, too soft, a long silence first; files that no prompt uses.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A decoded recording, and what is sent of it.
struct Recording {
    file: String,
    samples: Vec<i16>,
    clip: Clip,
}

impl Recording {
    fn load(directory: &Path, name: &str, wideband: bool) -> Result<Self, String> {
        let candidates = EXTENSIONS.map(|extension| directory.join(format!("{name}.{extension}")));
        let path = candidates.iter().find(|path| path.is_file());
        let path = path.ok_or_else(|| format!("the prompt \"{name}\" has no recording {name}.wav (or .flac, .ogg, .mp3)"))?;
        let file = path.display().to_string();
        let bad = |e: DecodeError| format!("{file} {e}");
        let sound = decode::decode(path).map_err(bad)?;
        let samples = sound.at(decode::NARROW).map_err(bad)?;
        let clip = Clip::from_pcm(name, &samples);
        let clip = if wideband { clip.with_wide_pcm(&sound.at(decode::WIDE).map_err(bad)?) } else { clip };
        let recording = Self { file, samples, clip };
        if recording.rms_db() < SILENT_DB {
            return Err(format!("{} is silent", recording.file));
        }
        Ok(recording)
    }

    fn rms_db(&self) -> f64 {
        decibel((self.samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / self.samples.len().max(1) as f64).sqrt())
    }

    fn warnings(&self, target_db: f64) -> Vec<String> {
        let mut list = Vec::new();
        let off = self.rms_db() - target_db;
        if off.abs() > LOUDNESS_TOLERANCE_DB {
            let word = if off > 0.0 { "louder" } else { "softer" };
            list.push(format!("{} is {:.0} dB {word} than the others", self.file, off.abs()));
        }
        let clipped = self.samples.windows(3).filter(|w| w.iter().all(|s| s.unsigned_abs() >= 32_767)).count();
        if clipped > 0 {
            list.push(format!("{} is overdriven: {clipped} samples at the limit", self.file));
        }
        let lead = self.samples.iter().position(|s| decibel(f64::from(*s).abs()) > -40.0).unwrap_or(self.samples.len()) / 8;
        if lead > LONGEST_LEAD_MS {
            list.push(format!("{} begins with {lead} ms of silence", self.file));
        }
        list
    }
}

/// Level in dB below full scale.
fn decibel(amplitude: f64) -> f64 {
    20.0 * (amplitude / 32_768.0).max(1e-9).log10()
}

/// Decodes and encodes on all cores; the results in the order of the names.
fn load_all(directory: &Path, names: &[&str], wideband: bool) -> Vec<Result<Recording, String>> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, name)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, names.get(i)?))) {
            done.push((index, Recording::load(directory, name, wideband)));
        }
        done
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // A decoder that panics on a damaged file must not end the program: its share is missing, and is told below.
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    all.sort_by_key(|(index, _)| *index);
    let mut all = all.into_iter().peekable();
    let found = |(index, name): (usize, &&str)| match all.next_if(|(i, _)| *i == index) {
        Some((_, recording)) => recording,
        None => Err(format!("the recording of \"{name}\" could not be decoded")),
    };
    names.iter().enumerate().map(found).collect()
}

/// Recordings in the directory that no prompt uses: a misspelt name, often.
fn unused(directory: &Path, prompts: &BTreeMap<String, Prompt>) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(directory) else { return vec![] };
    let mut list: Vec<_> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e)))
        .filter(|path| path.file_stem().and_then(|s| s.to_str()).is_none_or(|stem| !prompts.contains_key(stem)))
        .map(|path| format!("{} is used by no prompt", path.display()))
        .collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests;
