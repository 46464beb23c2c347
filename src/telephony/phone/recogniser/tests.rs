use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Sound no other seed makes: a noise of `frames` frames.
fn noise(seed: u64, frames: usize) -> Vec<i16> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 50) as i16 - 8_192
    };
    (0..frames * FRAME_SAMPLES).map(|_| next()).collect()
}

fn clip(name: &str, parts: &[Vec<i16>]) -> Arc<Clip> {
    Arc::new(Clip::from_pcm(name, &parts.concat()))
}

fn silence(frames: usize) -> Vec<i16> {
    vec![0; frames * FRAME_SAMPLES]
}

/// Plays the given frames of a clip.
fn play(to: &mut Recogniser, clip: &Clip, frames: impl IntoIterator<Item = usize>) {
    for f in frames {
        to.frame(clip.alaw_frame(f).unwrap(), true);
    }
}

fn quiet(to: &mut Recogniser, frames: usize) {
    for _ in 0..frames {
        to.frame(&[0xd5; FRAME_SAMPLES], true);
    }
}

fn told(recogniser: &Recogniser) -> Vec<(String, bool, u64)> {
    recogniser.heard().into_iter().map(|h| (h.name, h.complete, h.start_ms)).collect()
}

fn heard(name: &str, complete: bool, start_ms: u64) -> (String, bool, u64) {
    (name.to_owned(), complete, start_ms)
}

#[test]
fn clips_one_after_the_other_are_named_in_order_with_their_times() {
    let clips = [clip("a", &[noise(1, 50)]), clip("b", &[noise(2, 30)])];
    let mut r = Recogniser::new(&clips);
    quiet(&mut r, 10);
    play(&mut r, &clips[1], 0..30);
    play(&mut r, &clips[0], 0..50);
    quiet(&mut r, 5);
    play(&mut r, &clips[1], 0..30);
    assert_eq!(told(&r), [heard("b", true, 200), heard("a", true, 800), heard("b", true, 1_900)]);
    assert_eq!(r.heard()[1].frames_matched, 50);
    assert_eq!(r.heard()[1].also, Vec::<String>::new());
}

#[test]
fn mu_law_is_heard_as_well() {
    let clips = [clip("a", &[noise(1, 20)])];
    let mut r = Recogniser::new(&clips);
    for f in 0..20 {
        r.frame(clips[0].ulaw_frame(f).unwrap(), false);
    }
    assert_eq!(told(&r), [heard("a", true, 0)]);
}

#[test]
fn a_prompt_is_named_while_it_plays_and_barge_in_leaves_it_incomplete() {
    let clips = [clip("long", &[noise(1, 100)]), clip("next", &[noise(2, 20)])];
    let mut r = Recogniser::new(&clips);
    play(&mut r, &clips[0], 0..2);
    assert_eq!(told(&r), [], "two frames are not enough");
    play(&mut r, &clips[0], 2..40);
    assert_eq!(told(&r), [heard("long", false, 0)]);
    play(&mut r, &clips[1], 0..20);
    quiet(&mut r, 50);
    assert_eq!(told(&r), [heard("long", false, 0), heard("next", true, 800)]);
}

#[test]
fn a_prompt_broken_off_and_begun_again_is_heard_twice() {
    let clips = [clip("a", &[noise(1, 60)])];
    let mut r = Recogniser::new(&clips);
    play(&mut r, &clips[0], 0..30);
    play(&mut r, &clips[0], 0..60);
    assert_eq!(told(&r), [heard("a", false, 0), heard("a", true, 600)]);
}

#[test]
fn lost_packets_do_not_break_a_prompt_nor_move_its_beginning() {
    let clips = [clip("a", &[noise(1, 100)])];
    let mut r = Recogniser::new(&clips);
    // Frames 0, 40 to 59 and 99 never arrive; places as their timestamps tell.
    for f in (1..40).chain(60..99) {
        r.frame_at(f as u64, clips[0].alaw_frame(f).unwrap(), true);
    }
    r.frame_at(300, &[0xd5; FRAME_SAMPLES], true);
    assert_eq!(told(&r), [heard("a", true, 0)]);
    assert_eq!(r.heard()[0].frames_matched, 78);
}

#[test]
fn pauses_inside_silence_around_and_silence_common_to_all_do_not_confuse() {
    let clips = [
        clip("a", &[silence(10), noise(1, 20), silence(40), noise(2, 20), silence(30)]),
        clip("b", &[silence(10), noise(3, 20), silence(40), noise(4, 20), silence(30)]),
        clip("silence", &[silence(50)]),
    ];
    let mut r = Recogniser::new(&clips);
    quiet(&mut r, 100);
    play(&mut r, &clips[0], 0..120);
    play(&mut r, &clips[1], 0..120);
    assert_eq!(told(&r), [heard("a", true, 2_000), heard("b", true, 4_400)]);
    let mut r = Recogniser::new(&clips);
    play(&mut r, &clips[1], 0..60);
    quiet(&mut r, 200);
    assert_eq!(told(&r), [heard("b", false, 0)], "the second half never came");
}

#[test]
fn clips_that_begin_alike_are_told_apart_when_they_part() {
    let clips = [clip("short", &[noise(1, 30)]), clip("left", &[noise(1, 30), noise(2, 30)]), clip("right", &[noise(1, 30), noise(3, 30)])];
    for (n, name) in ["short", "left", "right"].into_iter().enumerate() {
        let mut r = Recogniser::new(&clips);
        play(&mut r, &clips[n], 0..clips[n].frames());
        quiet(&mut r, 20);
        play(&mut r, &clips[n], 0..clips[n].frames());
        quiet(&mut r, 20);
        let second = (clips[n].frames() as u64 + 20) * FRAME_MS;
        assert_eq!(told(&r), [heard(name, true, 0), heard(name, true, second)]);
        assert_eq!(r.heard()[0].also, Vec::<String>::new());
    }
    let mut r = Recogniser::new(&clips);
    play(&mut r, &clips[1], 0..20);
    quiet(&mut r, 20);
    assert_eq!(told(&r).len(), 1);
    assert_eq!(r.heard()[0].also, ["left", "right"], "nobody can know");
    assert!(!r.heard()[0].complete);
}

#[test]
fn a_word_recorded_once_and_used_in_two_sentences_does_not_make_a_third_prompt() {
    let word = noise(9, 15);
    let clips = [
        clip("one", &[noise(1, 30), word.clone(), noise(2, 30)]),
        clip("two", &[noise(3, 30), word.clone(), noise(4, 30)]),
        clip("word", &[word]),
    ];
    let mut r = Recogniser::new(&clips);
    play(&mut r, &clips[0], 0..75);
    play(&mut r, &clips[1], 0..75);
    play(&mut r, &clips[2], 0..15);
    assert_eq!(told(&r), [heard("one", true, 0), heard("two", true, 1_500), heard("word", true, 3_000)]);
}

#[test]
fn frames_of_any_length_and_noise_are_nothing() {
    let clips = [clip("a", &[noise(1, 20)]), clip("empty", &[])];
    let mut r = Recogniser::new(&clips);
    let other = clip("other", &[noise(2, 200)]);
    play(&mut r, &other, 0..200);
    for length in [0, 1, 159, 161, 1_400] {
        r.frame(&vec![3; length], true);
    }
    assert_eq!(told(&r), []);
}

proptest! {
    /// Whatever is played, with up to one packet in ten lost, comes out as it went in.
    #[test]
    fn whatever_is_played_is_named(
        order in prop::collection::vec(0_usize..4, 1..8),
        lost in prop::collection::vec(0_u8..10, 500),
    ) {
        static CLIPS: LazyLock<Vec<Arc<Clip>>> =
            LazyLock::new(|| (0..4).map(|n| clip(&n.to_string(), &[noise(n + 1, 20 + 10 * n as usize)])).collect());
        let clips = &*CLIPS;
        let mut r = Recogniser::new(clips);
        let mut place = 0;
        let mut expected = Vec::new();
        let mut lost = lost.into_iter().cycle();
        for &n in &order {
            expected.push((n.to_string(), place * FRAME_MS));
            for f in 0..clips[n].frames() {
                if lost.next() != Some(0) {
                    r.frame_at(place, clips[n].alaw_frame(f).unwrap(), true);
                }
                place += 1;
            }
            place += 12;
        }
        let names: Vec<_> = r.heard().into_iter().map(|h| (h.name, h.start_ms)).collect();
        prop_assert_eq!(names, expected);
    }
}

#[test]
fn the_same_recording_takes_the_name_that_fits() {
    let twelve = |name: &str| clip(name, &[noise(3, 20)]);
    let clips = [
        clip("settimana_4", &[noise(4, 10)]),
        clip("cifra_2", &[noise(5, 10)]),
        twelve("cifra_12"),
        twelve("giorno_12"),
        twelve("numero_12"),
    ];
    let played = [&clips[0], &clips[3], &clips[1], &clips[3], &clips[0], &clips[1], &clips[3]];
    let mut recogniser = Recogniser::new(&clips);
    for prompt in played {
        play(&mut recogniser, prompt, 0..prompt.frames());
    }
    let names: Vec<_> = recogniser.heard().into_iter().map(|heard| heard.name).collect();
    assert_eq!(names, ["settimana_4", "giorno_12", "cifra_2", "cifra_12", "settimana_4", "cifra_2", "cifra_12"]);
    let mut alone = Recogniser::new(&clips);
    play(&mut alone, &clips[4], 0..20);
    assert_eq!(alone.heard()[0].name, "numero_12");
    assert_eq!(alone.heard()[0].also, ["cifra_12", "giorno_12"]);
}
