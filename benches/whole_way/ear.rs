//! When a prompt begins, to the packet: the program sends its prompts frame by frame as they were encoded at load.

use std::{collections::HashMap, sync::Arc, time::Instant};

use voceguida::telephony::clip::{Clip, FRAME_SAMPLES};

/// Packets whose arrival is remembered: a prompt is known by its third telling frame, and begins before it.
const REMEMBERED: usize = 64;
/// Telling frames of one prompt, each in its place, before it is believed.
const BELIEVED: u32 = 3;

/// Which prompt a frame belongs to. Frames found in more than one place of all prompts tell nothing.
#[derive(Debug)]
pub struct Prompts {
    names: Vec<String>,
    places: HashMap<[u8; FRAME_SAMPLES], Option<(usize, u16)>>,
}

impl Prompts {
    /// Of these clips, in A-law.
    pub fn new(clips: &[Arc<Clip>]) -> Self {
        let mut places = HashMap::new();
        for (clip, audio) in clips.iter().enumerate() {
            for index in 0..audio.frames() {
                if let Some(frame) = audio.alaw_frame(index).and_then(|f| <[u8; FRAME_SAMPLES]>::try_from(f).ok()) {
                    places.entry(frame).and_modify(|place| *place = None).or_insert(Some((clip, index as u16)));
                }
            }
        }
        Self { names: clips.iter().map(|clip| clip.name().to_owned()).collect(), places }
    }

    fn place(&self, payload: &[u8]) -> Option<(usize, u16)> {
        *self.places.get(<&[u8; FRAME_SAMPLES]>::try_from(payload).ok()?)?
    }
}

/// A prompt that is being heard.
#[derive(Debug, Clone, Copy)]
struct Following {
    clip: usize,
    /// The sequence number of the packet that it began with.
    began: u16,
    matched: u32,
    /// When the first packet of it that told anything came.
    first_at: Instant,
}

/// Listens to one call.
#[derive(Debug)]
pub struct Ear {
    arrivals: Box<[Option<(u16, Instant)>; REMEMBERED]>,
    following: Option<Following>,
}

impl Ear {
    /// An ear that has heard nothing yet.
    pub fn new() -> Self {
        Self { arrivals: Box::new([None; REMEMBERED]), following: None }
    }

    /// Takes the packet with this sequence number; tells, once, which prompt has begun, and when the first packet of it came.
    pub fn packet<'a>(&mut self, prompts: &'a Prompts, sequence: u16, payload: &[u8], at: Instant) -> Option<(&'a str, Instant)> {
        self.arrivals[usize::from(sequence) % REMEMBERED] = Some((sequence, at));
        let (clip, frame) = prompts.place(payload)?;
        let began = sequence.wrapping_sub(frame);
        match &mut self.following {
            Some(following) if (following.clip, following.began) == (clip, began) => following.matched += 1,
            other => *other = Some(Following { clip, began, matched: 1, first_at: at }),
        }
        let following = self.following.filter(|f| f.matched == BELIEVED)?;
        let first = self.arrivals[usize::from(began) % REMEMBERED].filter(|(sequence, _)| *sequence == began);
        // Where its very first packet was lost, the first one that told of it.
        Some((prompts.names.get(clip)?, first.map_or(following.first_at, |(_, at)| at)))
    }
}
