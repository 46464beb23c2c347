//! Where a packet stands in its stream, and whether it was there before (RFC 3711 §3.3.1, §3.3.2).

/// Packets that may be late: one word of flags.
const WINDOW: u64 = 64;

/// The highest index so far, and which of those before it have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    /// Bit `n`: the packet `n` before the highest.
    seen: u64,
}

impl Window {
    /// Begins with its first packet.
    pub(super) fn starting(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// The index of the packet with this sequence number: the one nearest to the highest so far.
    pub(super) fn index_of(&self, sequence: u16) -> u64 {
        let ahead = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        // Before the beginning nothing was sent.
        self.highest.checked_add_signed(ahead).unwrap_or(u64::from(sequence))
    }

    /// Is it new? What is too old to tell is not.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(back) => back < WINDOW && self.seen >> back & 1 == 0,
        }
    }

    /// Notes a packet that was authentic.
    pub(super) fn note(&mut self, index: u64) {
        if let Some(back) = self.highest.checked_sub(index) {
            self.seen |= 1u64.checked_shl(back as u32).unwrap_or(0);
        } else {
            let ahead = index - self.highest;
            self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
            self.highest = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_index_is_meant() {
        let at = |highest| Window::starting(highest);
        for (highest, sequence, index) in [
            (0, 1, 1),
            (0, 65_535, 65_535),
            (65_535, 0, 65_536),
            (65_536, 65_535, 65_535),
            (0x2_0005, 0xffff, 0x1_ffff),
            (0x2_8000, 0x8001, 0x2_8001),
            (0x2_9000, 0x0fff, 0x3_0fff),
        ] {
            assert_eq!(at(highest).index_of(sequence), index, "{highest:#x} {sequence:#x}");
        }
    }

    proptest! {
        /// Against a plain list of what was seen.
        #[test]
        fn nothing_is_taken_twice_and_nothing_fresh_is_refused(steps in prop::collection::vec(0u64..200, 1..200)) {
            let mut window = Window::starting(100);
            let (mut seen, mut highest) = (vec![100], 100u64);
            for step in steps {
                let index = (highest + step).saturating_sub(100);
                let fresh = !seen.contains(&index) && (index > highest || highest - index < WINDOW);
                prop_assert_eq!(window.is_new(index), fresh);
                prop_assert_eq!(window.index_of(index as u16), index);
                if fresh {
                    window.note(index);
                    seen.push(index);
                    highest = highest.max(index);
                }
            }
        }
    }
}
