//! Which telephone events a side takes: the list in `a=fmtp` (RFC 4733 §2.4.1).

use std::fmt;

/// The keys of a telephone, by event code: bit `n` is event `n` (RFC 4733 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys(u16);

impl Keys {
    /// 0–9, *, #, A–D.
    pub const ALL: Self = Self(0xffff);

    /// Reads a list such as `0-15,66,70`. What is no key is left out; a list that makes no sense means all.
    pub fn parse(list: &str) -> Self {
        let (mut keys, mut sense) = (0, false);
        for item in list.split(',') {
            let (first, last) = item.trim().split_once('-').unwrap_or((item.trim(), item.trim()));
            if let (Ok(first), Ok(last)) = (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
                sense = true;
                keys |= (0..16u8).filter(|event| (first..=last).contains(event)).fold(0, |keys, event| keys | 1 << event);
            }
        }
        if sense { Self(keys) } else { Self::ALL }
    }

    /// Is there a digit among them?
    pub fn any_digit(self) -> bool {
        self.0 & 0x3ff != 0
    }
}

/// As a list for `a=fmtp`.
impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |event: u16| event < 16 && self.0 >> event & 1 == 1;
        let mut separator = "";
        let mut event = 0;
        while event < 16 {
            if has(event) {
                let first = event;
                while has(event + 1) {
                    event += 1;
                }
                if first == event {
                    write!(f, "{separator}{first}")?;
                } else {
                    write!(f, "{separator}{first}-{event}")?;
                }
                separator = ",";
            }
            event += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_events() {
        for (list, keys, digits) in [
            ("0-15", "0-15", true),
            ("0-16", "0-15", true),
            ("0-11,16", "0-11", true),
            (" 0-9 , 11, 13-200 ", "0-9,11,13-15", true),
            ("1,2,3,7", "1-3,7", true),
            ("16,32-36", "", false),
            ("10-11", "10-11", false),
            ("9-0", "", false),
            ("", "0-15", true),
            ("events=x", "0-15", true),
            ("300", "0-15", true),
        ] {
            let read = Keys::parse(list);
            assert_eq!((read.to_string().as_str(), read.any_digit()), (keys, digits), "{list:?}");
        }
    }
}
