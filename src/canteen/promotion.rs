//! Where a class goes when a new school year begins: pure.

use serde::{Deserialize, Serialize};

/// What becomes of the children of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// They go up into the class of this name.
    Promote(String),
    /// They stay in a class of the same name, as in a nursery school with mixed ages.
    Stay,
    /// They have finished this school.
    Leave,
}

/// Year and section of a class: `3A` is (3, "A"); `None` for a class that is not named after its year.
pub fn level(name: &str) -> Option<(u32, &str)> {
    let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (year, section) = name.split_at(digits);
    // More than two digits are no school year but a number of something.
    year.parse().ok().filter(|_| (1..=2).contains(&digits)).map(|year| (year, section))
}

/// What is proposed for a class of a school whose highest year is `highest`.
pub fn proposed(name: &str, highest: u32) -> Step {
    match level(name) {
        Some((year, section)) if year < highest => Step::Promote(format!("{}{section}", year + 1)),
        Some(_) => Step::Leave,
        None => Step::Stay,
    }
}

/// The highest year among the classes of a school.
pub fn highest<'a>(names: impl Iterator<Item = &'a str>) -> u32 {
    names.filter_map(level).map(|(year, _)| year).max().unwrap_or(0)
}

/// `2027/2028` after `2026/2027`; `None` where the name is not of that kind.
pub fn next_year(name: &str) -> Option<String> {
    let first: i32 = name.split('/').next()?.trim().parse().ok()?;
    (1900..9000).contains(&first).then(|| format!("{}/{}", first + 1, first + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_go_up_and_the_last_year_leaves() {
        let promote = |name: &str| Step::Promote(name.to_owned());
        for (name, highest, step) in [
            ("1A", 5, promote("2A")),
            ("4 B", 5, promote("5 B")),
            ("5A", 5, Step::Leave),
            ("3A", 3, Step::Leave),
            ("Api", 0, Step::Stay),
            ("9A", 10, promote("10A")),
            ("2026", 5, Step::Stay),
            ("", 5, Step::Stay),
        ] {
            assert_eq!(proposed(name, highest), step, "{name}");
        }
        assert_eq!(highest(["1A", "Api", "3B"].into_iter()), 3);
        assert_eq!(next_year("2026/2027").as_deref(), Some("2027/2028"));
        assert_eq!(next_year("anno di prova"), None);
    }
}
