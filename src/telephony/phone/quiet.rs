//! Tells when a prompt has ended: speech was heard, then silence for long enough. Pure: the time is an argument.

/// Silence after speech that counts as the end of a prompt, ms. Longer than a speaker's breath,
/// shorter than the server's own time-outs.
pub const END_OF_PROMPT_MS: u64 = 700;
/// Mean level of a 20 ms frame from which it counts as speech (of 32768; about −54 dBov). Natural
/// recordings hiss below it, the softest syllable lies well above.
const SPEECH_LEVEL: u32 = 64;

/// Whether a frame of samples is loud enough to be speech. An empty one is not.
pub fn is_speech(samples: &[i16]) -> bool {
    let sum: u32 = samples.iter().map(|&s| u32::from(s.unsigned_abs())).sum();
    u32::try_from(samples.len()).is_ok_and(|count| count > 0 && sum / count >= SPEECH_LEVEL)
}

/// Follows the loudness of received audio. Audio that does not arrive is silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuietDetector {
    last_speech_ms: Option<u64>,
}

impl QuietDetector {
    /// Forgets what was heard: the next prompt is a new one.
    pub fn reset(&mut self) {
        self.last_speech_ms = None;
    }

    /// A frame with speech in it arrived at this time (ms on any clock that only goes forward).
    pub fn speech(&mut self, now_ms: u64) {
        self.last_speech_ms = Some(now_ms);
    }

    /// Whether a prompt was heard since the last reset and has ended.
    pub fn prompt_ended(&self, now_ms: u64) -> bool {
        self.last_speech_ms.is_some_and(|last| now_ms.saturating_sub(last) >= END_OF_PROMPT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_before_any_speech_is_not_the_end_of_a_prompt() {
        let quiet = QuietDetector::default();
        assert!(!quiet.prompt_ended(0));
        assert!(!quiet.prompt_ended(60_000));
    }

    #[test]
    fn a_prompt_ends_700_ms_after_its_last_speech_and_a_breath_does_not_end_it() {
        let mut quiet = QuietDetector::default();
        quiet.speech(1_000);
        assert!(!quiet.prompt_ended(1_699));
        quiet.speech(1_699);
        assert!(!quiet.prompt_ended(1_700));
        assert!(!quiet.prompt_ended(2_398));
        assert!(quiet.prompt_ended(2_399));
        quiet.speech(2_400);
        assert!(!quiet.prompt_ended(2_500), "it went on after all");
    }

    #[test]
    fn after_a_key_the_next_prompt_is_waited_for_anew() {
        let mut quiet = QuietDetector::default();
        quiet.speech(100);
        assert!(quiet.prompt_ended(1_000));
        quiet.reset();
        assert!(!quiet.prompt_ended(1_000));
        quiet.speech(1_500);
        assert!(quiet.prompt_ended(2_200));
    }

    #[test]
    fn hiss_is_not_speech_and_a_soft_vowel_is() {
        assert!(!is_speech(&[]));
        assert!(!is_speech(&[0; 160]));
        let hiss: Vec<i16> = (0..160).map(|i| if i % 2 == 0 { 24 } else { -24 }).collect();
        assert!(!is_speech(&hiss));
        let vowel: Vec<i16> = (0..160).map(|i| (f64::from(i) * 0.15).sin() * 300.0).map(|s| s as i16).collect();
        assert!(is_speech(&vowel));
        assert!(is_speech(&[i16::MIN; 160]));
    }
}
