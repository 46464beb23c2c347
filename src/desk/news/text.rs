//! What the office writes, as families read it: a small Markdown to HTML, and to plain text for mail. Pure.
//!
//! Paragraphs, emphasis, lists, headings, quotations and links; HTML stays the text that it is, pictures become their words. What comes out goes through a
//! second, independent sieve that only lets through what is named here.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::LazyLock,
};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Where links may lead.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];
/// Elements that may occur.
const ELEMENTS: [&str; 11] = ["p", "br", "strong", "em", "ul", "ol", "li", "h3", "blockquote", "hr", "a"];

static SIEVE: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut sieve = ammonia::Builder::empty();
    sieve
        .tags(HashSet::from(ELEMENTS))
        .tag_attributes(HashMap::from([("a", HashSet::from(["href"])), ("ol", HashSet::from(["start"]))]))
        .generic_attributes(HashSet::new())
        .url_schemes(HashSet::from(SCHEMES))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer"));
    sieve
});

/// The events of a text, without what is not for families: HTML is text, pictures are their words, every heading has one level, below a page's own.
fn events(markdown: &str) -> impl Iterator<Item = Event<'_>> {
    let heading = HeadingLevel::H3;
    Parser::new_ext(markdown, Options::empty()).filter_map(move |event| match event {
        Event::Html(text) | Event::InlineHtml(text) | Event::Code(text) => Some(Event::Text(text)),
        Event::Start(Tag::Heading { .. }) => Some(Event::Start(Tag::Heading { level: heading, id: None, classes: vec![], attrs: vec![] })),
        Event::End(TagEnd::Heading(_)) => Some(Event::End(TagEnd::Heading(heading))),
        // Who begins a new line means one.
        Event::SoftBreak => Some(Event::HardBreak),
        // What is set in by four blanks is meant as a paragraph.
        Event::Start(Tag::CodeBlock(_) | Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::CodeBlock | TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        other => Some(other),
    })
}

/// HTML that is safe to stand in a page, with headings of the third level.
pub fn html(markdown: &str) -> String {
    let mut html = String::with_capacity(markdown.len() * 2);
    pulldown_cmark::html::push_html(&mut html, events(markdown));
    SIEVE.clean(&html).to_string()
}

/// Plain text, for mail: lists with dashes or numbers, the address of a link behind its words.
pub fn plain(markdown: &str) -> String {
    let mut text = Plain::default();
    for event in events(markdown) {
        text.take(event);
    }
    text.out.trim().to_owned()
}

#[derive(Default)]
struct Plain {
    out: String,
    /// The lists that are open: the next number of each, `None` for dashes.
    lists: Vec<Option<u64>>,
    /// The address of the link that is open, and where its words begin.
    link: Option<(String, usize)>,
}

impl Plain {
    fn line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    fn gap(&mut self) {
        self.line();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) => self.out.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.line(),
            Event::Rule => {
                self.gap();
                self.out.push_str("---");
                self.gap();
            }
            Event::Start(Tag::Paragraph) if !self.out.ends_with([' ', '\u{a0}']) => self.gap(),
            Event::Start(Tag::Heading { .. } | Tag::BlockQuote(_)) => self.gap(),
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_)) if self.lists.is_empty() => self.gap(),
            Event::Start(Tag::List(first)) => {
                if self.lists.is_empty() {
                    self.gap();
                }
                self.lists.push(first);
            }
            Event::End(TagEnd::List(_)) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.gap();
                }
            }
            Event::Start(Tag::Item) => {
                self.line();
                self.out.push_str(&"  ".repeat(self.lists.len().saturating_sub(1).min(8)));
                match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let _ = write!(self.out, "{number}. ");
                        *number = number.saturating_add(1);
                    }
                    _ => self.out.push_str("- "),
                }
            }
            Event::Start(Tag::Link { dest_url, .. }) => self.link = Some((dest_url.into_string(), self.out.len())),
            Event::End(TagEnd::Link) => {
                if let Some((address, begin)) = self.link.take() {
                    let words = self.out.get(begin..).unwrap_or_default();
                    let bare = address.strip_prefix("mailto:").unwrap_or(&address);
                    if is_safe(&address) && words != bare && words != address {
                        let _ = write!(self.out, " ({address})");
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_safe(address: &str) -> bool {
    address.split_once(':').is_some_and(|(scheme, _)| SCHEMES.iter().any(|s| scheme.eq_ignore_ascii_case(s)))
}

/// Text that Markdown shows as it is, line by line: for what comes from elsewhere into a ready text. Only what would mean something is escaped, so that
/// the office can still read it.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // At the beginning of a line, digits of a list's number included, more signs mean something.
    let mut begins = true;
    for c in text.chars() {
        if "\\`*_[]<>&".contains(c) || (begins && "#-+=~.)".contains(c)) {
            out.push('\\');
        }
        begins = c == '\n' || (begins && (c.is_ascii_digit() || c == ' '));
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_as_html_and_as_mail() {
        let text = "# Menù di *novembre*\n\nGentili famiglie,\nda lunedì:\n\n- pasta\n- **pesce**\n    1. al forno\n    2. lesso\n\nVedi [il menù](https://comune.example/menu) o scriva a <mensa@comune.example>.\n\n> Grazie\n\n---\nFine";
        insta::assert_snapshot!(html(text));
        insta::assert_snapshot!(plain(text));
    }

    #[test]
    fn html_stays_text_and_links_lead_nowhere_bad() {
        let bad = [
            "<script>alert(1)</script>",
            "ciao <img src=x onerror=alert(1)> <b>Rossi</b>",
            "[qui](javascript:alert(1))",
            "[qui](JaVaScRiPt&colon;alert(1))",
            "[qui](data:text/html;base64,PHNjcmlwdD4=)",
            "[qui](//altrove.example)",
            "[qui](/ufficio/uscita)",
            "![foto](https://altrove.example/x.png)",
            "[a](https://x.example \"\\\" onclick=alert(1)\")",
            "<javascript:alert(1)>",
            "<div>\n\n*a*\n\n</div>",
            "    <b>set in</b>",
            "`<i>`",
        ];
        insta::assert_snapshot!(
            bad.map(|text| format!("{text}\n  {}\n  {}", html(text).trim(), plain(text).replace('\n', "⏎"))).join("\n")
        );
    }

    #[test]
    fn what_is_literal_shows_as_it_is() {
        let name = "1. Scuola *Stella* <b> [x](javascript:y) & 1. #uno-due";
        assert_eq!(plain(&literal(name)), name);
        assert_eq!(literal("Gentili famiglie, martedì 20 - mercoledì 21 (1A)."), "Gentili famiglie, martedì 20 - mercoledì 21 (1A).");
    }

    proptest! {
        #[test]
        fn nothing_but_what_is_named_comes_out(text in "[a-z<>/\"'=:&;#*_\\[\\]()!`\\n -]{0,120}") {
            let html = html(&text);
            // Every tag that stands there is one of ours, with an address at most.
            for tag in html.split('<').skip(1) {
                let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                prop_assert!(ELEMENTS.contains(&name.as_str()), "{html}");
                let inside = tag.split('>').next().unwrap_or_default();
                prop_assert!(!inside.contains(" on") && !inside.to_ascii_lowercase().contains("script:"), "{html}");
            }
            let _ = plain(&text);
        }

        #[test]
        fn literal_text_survives(text in "[a-zA-Z*_<>#&!\\[\\]()`~|+.-]{1,20}( [a-z*_<>&]{1,9}){0,4}") {
            prop_assert_eq!(plain(&literal(&text)), text);
        }
    }
}
