//! Lists: sorted, filtered and paged by the server, everything in the address.
//!
//! A list declares its columns and filters once as a `static` [`ListSpec`]; a handler makes a [`List`] of the query string, asks the desk with
//! `list.sort`, `list.descending`, `list.filter(…)`, `list.limit()`, `list.offset()`, and the template shows `{{ list.head() }}` and `{{ list.pager(total) }}`.

use std::fmt::Write as _;

use super::html::{Html, escaped};

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column<S: 'static> {
    /// What it says.
    pub label: &'static str,
    /// Its word in the address and what the desk sorts by; `None` where it cannot be sorted by.
    pub sort: Option<(&'static str, S)>,
    /// Are there numbers in it (set to the right)?
    pub number: bool,
}

/// What a list can do.
#[derive(Debug, Clone, Copy)]
pub struct ListSpec<S: 'static> {
    /// Where it is.
    pub path: &'static str,
    /// Its columns, from the left.
    pub columns: &'static [Column<S>],
    /// How it is sorted at first, and whether from the greatest down.
    pub usual: (S, bool),
    /// The names of its filters.
    pub filters: &'static [&'static str],
}

/// The numbers of rows that a page may have; the first is usual.
pub const SIZES: [u32; 3] = [25, 50, 100];
/// The longest filter, in characters.
const LONGEST_FILTER: usize = 100;
/// The last page that is shown; further ones are reached by filters.
const LAST_PAGE: u32 = 100_000;

/// A list as the address asks for it.
#[derive(Debug, Clone)]
pub struct List<S: 'static> {
    spec: &'static ListSpec<S>,
    path: String,
    /// Sorted by this.
    pub sort: S,
    /// From the greatest down.
    pub descending: bool,
    /// The page, from 1.
    pub page: u32,
    /// Rows of a page.
    pub size: u32,
    filters: Vec<(&'static str, String)>,
}

impl<S: Copy + PartialEq + 'static> List<S> {
    /// Reads the query string (`None` where there is none). What it says wrongly is as if it were not said.
    pub fn of(spec: &'static ListSpec<S>, query: Option<&str>) -> Self {
        let mut list = Self {
            spec,
            path: spec.path.to_owned(),
            sort: spec.usual.0,
            descending: spec.usual.1,
            page: 1,
            size: SIZES[0],
            filters: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "ordine" => {
                    let (word, down) = value.strip_prefix('-').map_or((value.as_ref(), false), |word| (word, true));
                    if let Some((_, sort)) = spec.columns.iter().filter_map(|c| c.sort).find(|(w, _)| *w == word) {
                        (list.sort, list.descending) = (sort, down);
                    }
                }
                "pagina" => list.page = value.parse().unwrap_or(1).clamp(1, LAST_PAGE),
                "righe" => list.size = value.parse().ok().filter(|n| SIZES.contains(n)).unwrap_or(SIZES[0]),
                name => {
                    let known = spec.filters.iter().find(|f| **f == name);
                    let value: String = value.trim().chars().filter(|c| !c.is_control()).take(LONGEST_FILTER).collect();
                    if let Some(known) = known.filter(|k| !value.is_empty() && !list.filters.iter().any(|(n, _)| n == *k)) {
                        list.filters.push((known, value));
                    }
                }
            }
        }
        list
    }

    /// The list stands at another path than its spec says (one with a number in it).
    #[must_use]
    pub fn at(mut self, path: String) -> Self {
        self.path = path;
        self
    }

    /// What is asked of a filter; empty where nothing is.
    pub fn filter(&self, name: &str) -> &str {
        self.filters.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    /// Is anything filtered away?
    pub fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// For SQL.
    pub fn limit(&self) -> i64 {
        i64::from(self.size)
    }

    /// For SQL.
    pub fn offset(&self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.size)
    }

    /// The filters and the order as a query string, for links to files and parts of the same list; begins with `?` where there is any.
    pub fn query(&self) -> String {
        self.link(self.sort, self.descending, 1, self.size).split_once('?').map(|(_, q)| format!("?{q}")).unwrap_or_default()
    }

    fn link(&self, sort: S, descending: bool, page: u32, size: u32) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.filters {
            query.append_pair(name, value);
        }
        if (sort, descending) != self.spec.usual
            && let Some((word, _)) = self.spec.columns.iter().filter_map(|c| c.sort).find(|(_, s)| *s == sort)
        {
            query.append_pair("ordine", &format!("{}{word}", if descending { "-" } else { "" }));
        }
        if size != SIZES[0] {
            query.append_pair("righe", &size.to_string());
        }
        if page > 1 {
            query.append_pair("pagina", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }

    /// `<thead>` with links that sort.
    pub fn head(&self) -> Html {
        let mut html = String::from("<thead><tr>");
        for column in self.spec.columns {
            let class = if column.number { r#" class="number""# } else { "" };
            let label = escaped(column.label);
            match column.sort {
                Some((_, sort)) if sort == self.sort => {
                    let (state, arrow) = if self.descending { ("descending", "▼") } else { ("ascending", "▲") };
                    let href = escaped(&self.link(sort, !self.descending, 1, self.size));
                    let _ = write!(
                        html,
                        r#"<th scope="col" aria-sort="{state}"{class}><a href="{href}">{label} <span aria-hidden="true">{arrow}</span></a></th>"#
                    );
                }
                Some((_, sort)) => {
                    let href = escaped(&self.link(sort, false, 1, self.size));
                    let _ = write!(html, r#"<th scope="col"{class}><a href="{href}">{label}</a></th>"#);
                }
                None => {
                    let _ = write!(html, r#"<th scope="col"{class}>{label}</th>"#);
                }
            }
        }
        html.push_str("</tr></thead>");
        Html(html)
    }

    /// How many there are, links to other pages, rows of a page.
    pub fn pager(&self, total: &i64) -> Html {
        let total = *total;
        let pages = u32::try_from((total.max(0) + self.limit() - 1) / self.limit()).unwrap_or(LAST_PAGE).clamp(1, LAST_PAGE);
        let first = (self.offset() + 1).min(total.max(0));
        let last = (self.offset() + self.limit()).min(total.max(0));
        let mut html = String::from(r#"<nav class="vg-pager" aria-label="Pagine">"#);
        let _ = write!(
            html,
            "<p>{}</p>",
            if total == 0 {
                "Nessuna riga".to_owned()
            } else {
                format!("{}–{} di {}", thousands(first), thousands(last), thousands(total))
            }
        );
        if pages > 1 {
            html.push_str("<ul>");
            if self.page > 1 {
                let _ = write!(
                    html,
                    r#"<li><a rel="prev" href="{}">Precedente</a></li>"#,
                    escaped(&self.link(self.sort, self.descending, self.page - 1, self.size))
                );
            }
            let mut before = 0;
            for page in 1..=pages {
                if page != 1 && page != pages && page.abs_diff(self.page) > 2 {
                    continue;
                }
                if page > before + 1 {
                    html.push_str("<li><span>…</span></li>");
                }
                before = page;
                if page == self.page {
                    let _ = write!(html, r#"<li><span aria-current="page">{page}</span></li>"#);
                } else {
                    let href = escaped(&self.link(self.sort, self.descending, page, self.size));
                    let _ = write!(html, r#"<li><a href="{href}" aria-label="Pagina {page}">{page}</a></li>"#);
                }
            }
            if self.page < pages {
                let _ = write!(
                    html,
                    r#"<li><a rel="next" href="{}">Successiva</a></li>"#,
                    escaped(&self.link(self.sort, self.descending, self.page + 1, self.size))
                );
            }
            html.push_str("</ul>");
        }
        if total > i64::from(SIZES[0]) {
            html.push_str("<p>Righe: ");
            for size in SIZES {
                if size == self.size {
                    let _ = write!(html, "<strong>{size}</strong> ");
                } else {
                    let _ = write!(
                        html,
                        r#"<a href="{}" aria-label="{size} righe per pagina">{size}</a> "#,
                        escaped(&self.link(self.sort, self.descending, 1, size))
                    );
                }
            }
            html.push_str("</p>");
        }
        html.push_str("</nav>");
        Html(html)
    }

    /// Hidden fields that keep the order when a filter form (`method="get"`) is sent.
    pub fn keep(&self) -> Html {
        let mut html = String::new();
        if (self.sort, self.descending) != self.spec.usual
            && let Some((word, _)) = self.spec.columns.iter().filter_map(|c| c.sort).find(|(_, s)| *s == self.sort)
        {
            let _ = write!(html, r#"<input type="hidden" name="ordine" value="{}{word}">"#, if self.descending { "-" } else { "" });
        }
        if self.size != SIZES[0] {
            let _ = write!(html, r#"<input type="hidden" name="righe" value="{}">"#, self.size);
        }
        Html(html)
    }
}

/// A number as Italians write it: 12.345.
pub fn thousands(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    if n < 0 { format!("−{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum By {
        Name,
        Age,
    }

    static SPEC: ListSpec<By> = ListSpec {
        path: "/ufficio/prova",
        columns: &[
            Column { label: "Nome", sort: Some(("nome", By::Name)), number: false },
            Column { label: "Età", sort: Some(("eta", By::Age)), number: true },
            Column { label: "", sort: None, number: false },
        ],
        usual: (By::Name, false),
        filters: &["classe"],
    };

    #[test]
    fn the_address_says_how_and_nonsense_says_nothing() {
        let list = List::of(&SPEC, Some("ordine=-eta&pagina=3&righe=50&classe=2A&altro=x"));
        assert_eq!((list.sort, list.descending, list.offset(), list.limit(), list.filter("classe")), (By::Age, true, 100, 50, "2A"));
        let list = List::of(&SPEC, Some("ordine=boh&pagina=-3&righe=1000000&classe="));
        assert_eq!((list.sort, list.descending, list.offset(), list.limit(), list.is_filtered()), (By::Name, false, 0, 25, false));
    }

    #[test]
    fn links_keep_what_was_asked() {
        let list = List::of(&SPEC, Some("classe=2%22A&ordine=eta&pagina=2"));
        insta::assert_snapshot!(list.head(), @r#"<thead><tr><th scope="col"><a href="/ufficio/prova?classe=2%22A">Nome</a></th><th scope="col" aria-sort="ascending" class="number"><a href="/ufficio/prova?classe=2%22A&amp;ordine=-eta">Età <span aria-hidden="true">▲</span></a></th><th scope="col"></th></tr></thead>"#);
        assert!(list.pager(&12_345).0.contains("26–50 di 12.345"));
    }
}
