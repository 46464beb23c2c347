//! What the fonts cannot print.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

/// Stands for a character that no font of ours has.
const UNKNOWN: char = '?';

/// Makes every text in `value` printable: composed (NFC), line ends as they are, other control characters gone, and what `prints`
/// denies replaced. A PDF/UA document must not hold a character without a picture.
pub(super) fn make_printable(value: &mut Value, prints: &impl Fn(char) -> bool) {
    match value {
        Value::String(text) => *text = printable(text, prints),
        Value::Array(items) => items.iter_mut().for_each(|item| make_printable(item, prints)),
        Value::Object(fields) => fields.values_mut().for_each(|field| make_printable(field, prints)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn printable(text: &str, prints: &impl Fn(char) -> bool) -> String {
    let shown = |c: char| match c {
        '\n' => Some('\n'),
        '\t' => Some(' '),
        // Marks that turn the reading direction could make a page read otherwise than it is.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => None,
        c if c.is_control() => None,
        c if c.is_whitespace() || prints(c) => Some(c),
        _ => Some(UNKNOWN),
    };
    text.nfc().filter_map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_seen_to_be_missing() {
        let ascii = |c: char| c.is_ascii() || c == 'è';
        for (text, shown) in [("Nicolò", "Nicol?"), ("Mose\u{300}", "Mosè"), ("a\u{0}\u{202e}b\tc\nd", "ab c\nd"), ("", "")] {
            assert_eq!(printable(text, &ascii), shown);
        }
    }
}
