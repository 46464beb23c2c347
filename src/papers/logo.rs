//! The ente's logo: looked at when it is handed in, so that no letter fails by it later.

use chrono::DateTime;

use super::{Heading, PaperError, letter};

/// The largest logo, in octets.
pub const MOST_OCTETS: usize = 512 * 1024;
/// The longest side of a logo, in pixels.
pub const LONGEST_SIDE: u32 = 4_000;

/// The kind of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// SVG.
    Svg,
}

/// A logo that can be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    kind: Kind,
    bytes: Vec<u8>,
}

/// Why a picture is no logo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogoError {
    /// Larger than [`MOST_OCTETS`].
    #[error("the picture is larger than {} KB", MOST_OCTETS / 1024)]
    TooLarge,
    /// A side is longer than [`LONGEST_SIDE`], or has no length.
    #[error("the picture is {0} × {1} pixels; the most is {LONGEST_SIDE} a side")]
    TooWide(u32, u32),
    /// Neither PNG, JPEG nor SVG, or broken.
    #[error("the picture is no PNG, JPEG or SVG that can be drawn")]
    Unreadable,
}

impl Logo {
    /// Takes a picture in: it must be of a known kind and size, and a page with it must come out.
    pub fn new(bytes: Vec<u8>) -> Result<Self, LogoError> {
        if bytes.len() > MOST_OCTETS {
            return Err(LogoError::TooLarge);
        }
        let kind = kind_of(&bytes).ok_or(LogoError::Unreadable)?;
        if let Some((width, height)) = pixels(kind, &bytes)?
            && !((1..=LONGEST_SIDE).contains(&width) && (1..=LONGEST_SIDE).contains(&height))
        {
            return Err(LogoError::TooWide(width, height));
        }
        let logo = Self { kind, bytes };
        logo.proof().map_err(|_| LogoError::Unreadable)?;
        Ok(logo)
    }

    /// A logo that was taken in before, as the database keeps it.
    pub fn kept(media_type: &str, bytes: Vec<u8>) -> Option<Self> {
        let kind = [Kind::Png, Kind::Jpeg, Kind::Svg].into_iter().find(|kind| kind.media_type() == media_type)?;
        Some(Self { kind, bytes })
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The picture.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where templates find it.
    pub(super) fn file_name(&self) -> &'static str {
        match self.kind {
            Kind::Png => "/logo.png",
            Kind::Jpeg => "/logo.jpg",
            Kind::Svg => "/logo.svg",
        }
    }

    fn proof(&self) -> Result<(), PaperError> {
        let heading = Heading { name: "Prova".to_owned(), logo: Some(self.clone()), ..Heading::default() };
        letter::pdf(&letter::Letters { heading, ..letter::Letters::default() }, DateTime::UNIX_EPOCH).map(|_| ())
    }
}

impl Kind {
    /// Its media type (RFC 6838).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Svg => "image/svg+xml",
        }
    }
}

fn kind_of(bytes: &[u8]) -> Option<Kind> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(Kind::Png)
    } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(Kind::Jpeg)
    } else {
        // Compressed SVG begins otherwise and is not taken: it could unfold to anything.
        let text = std::str::from_utf8(bytes).ok()?;
        text.contains("<svg").then_some(Kind::Svg)
    }
}

/// Width and height from the picture's head; nothing for drawings, whose size means nothing.
fn pixels(kind: Kind, bytes: &[u8]) -> Result<Option<(u32, u32)>, LogoError> {
    let found = match kind {
        Kind::Png => png_pixels(bytes),
        Kind::Jpeg => jpeg_pixels(bytes),
        Kind::Svg => return Ok(None),
    };
    found.map(Some).ok_or(LogoError::Unreadable)
}

/// The IHDR chunk is the first (PNG, third edition, 11.2.1).
fn png_pixels(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    (bytes.get(12..16)? == b"IHDR").then_some(())?;
    Some((number(16)?, number(20)?))
}

/// The frame header, after the segments before it (ITU-T T.81, B.2.2).
fn jpeg_pixels(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let marker = number(at)?;
        match marker {
            // Fill.
            0xffff => at += 1,
            // SOF0 to SOF15, but for DHT, JPG and DAC.
            0xffc0..=0xffc3 | 0xffc5..=0xffc7 | 0xffc9..=0xffcb | 0xffcd..=0xffcf => {
                return Some((u32::from(number(at + 7)?), u32::from(number(at + 5)?)));
            }
            0xff01..=0xffd7 | 0xffe0..=0xfffe => at += 2 + usize::from(number(at + 2)?).max(2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRAWING: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="navy"/></svg>"#;

    #[test]
    fn a_drawing_is_taken_and_what_is_no_picture_is_not() {
        assert_eq!(Logo::new(DRAWING.into()).unwrap().kind(), Kind::Svg);
        for broken in ["", "GIF89a", "<svg", "\u{1f}\u{8b}", "<svg><<<"] {
            assert_eq!(Logo::new(broken.into()).unwrap_err(), LogoError::Unreadable, "{broken}");
        }
        assert_eq!(Logo::new(vec![b' '; MOST_OCTETS + 1]).unwrap_err(), LogoError::TooLarge);
    }

    #[test]
    fn a_picture_that_would_unfold_to_gigabytes_is_not_looked_at() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 8, 6, 0, 0, 0]);
        assert_eq!(Logo::new(png).unwrap_err(), LogoError::TooWide(65_535, 65_535));
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xff, 0xc0, 0, 17, 8, 0xea, 0x60, 0, 10, 3];
        assert_eq!(Logo::new(jpeg.to_vec()).unwrap_err(), LogoError::TooWide(10, 60_000));
    }

    #[test]
    fn a_drawing_reaches_for_no_file() {
        let reaching = DRAWING.replace(
            "<circle",
            r#"<image href="/etc/hostname" width="5" height="5"/><image href="http://127.0.0.1:9/x.png" width="5" height="5"/><circle"#,
        );
        // Drawn without what it reaches for, or not at all; never with it.
        if let Ok(logo) = Logo::new(reaching.into()) {
            assert_eq!(logo.kind(), Kind::Svg);
        }
    }

    proptest! {
        #[test]
        fn no_head_of_a_picture_upsets_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let with = |head: &[u8]| [head, &bytes].concat();
            let _ = png_pixels(&with(b"\x89PNG\r\n\x1a\n"));
            let _ = jpeg_pixels(&with(&[0xff, 0xd8]));
        }
    }
}
