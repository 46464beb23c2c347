//! A dialplan with the calls that went through it: drawn, and as numbers. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    draw::{colours, escape, layers},
    plan::{Kind, Plan},
    words::{counted_ways, kind_in_words, way_in_words},
};
use crate::desk::{calendar::words::thousands, calls::Outcome, traffic::Traffic};

const BOX_W: usize = 216;
const BOX_H: usize = 76;
const GAP_X: usize = 44;
const GAP_Y: usize = 84;
const MARGIN: usize = 24;
/// The widest line of the drawing, for the way that most calls took.
const WIDEST: f64 = 9.0;
/// Characters of a title that fit into a box.
const FITS: usize = 27;

/// The calls in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCount {
    /// Calls that reached it.
    pub reached: i64,
    /// Calls whose caller hung up in it before anything was registered, and not on the last words: who gave up.
    pub hung_up: i64,
    /// Calls that ended in it after something had been registered.
    pub registered: i64,
    /// Calls that ended in it as the plan has it.
    pub ended: i64,
    /// Calls that broke off in it.
    pub failed: i64,
}

impl StepCount {
    /// How many of a hundred that reached it gave up in it.
    pub fn share(&self) -> i64 {
        share(self.hung_up, self.reached)
    }
}

/// With points: "1.250".
fn points(n: i64) -> String {
    thousands(usize::try_from(n).unwrap_or(0))
}

/// `part` of `whole` in percent, rounded; nothing of nothing is nothing.
fn share(part: i64, whole: i64) -> i64 {
    (part * 200 + whole.max(1)) / (2 * whole.max(1))
}

/// A way from one state to another, or a stay in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayCount {
    /// From which state.
    pub from: usize,
    /// By what: the word that it is counted under.
    pub way: String,
    /// To which state.
    pub to: usize,
    /// Calls.
    pub calls: i64,
    /// How often they did so.
    pub passes: i64,
}

/// A plan and the calls that went through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMap<'a> {
    plan: &'a Plan,
    /// By state.
    pub steps: Vec<StepCount>,
    /// Every way that the plan has or that a call took, by state, those that most calls took first.
    pub ways: Vec<WayCount>,
}

impl<'a> FlowMap<'a> {
    /// Of what was counted under this plan. Counts of states that it does not have are left out.
    pub fn new(plan: &'a Plan, counted: &[Traffic]) -> Self {
        let index: BTreeMap<&str, usize> = plan.states.iter().enumerate().map(|(n, s)| (s.name.as_str(), n)).collect();
        let mut steps = vec![StepCount::default(); plan.states.len()];
        let mut ways: BTreeMap<(usize, usize, String), (i64, i64)> = BTreeMap::new();
        for (from, state) in plan.states.iter().enumerate() {
            for (way, to) in counted_ways(state) {
                ways.insert((from, to, way), (0, 0));
            }
        }
        for row in counted {
            let (from, to) = (index.get(row.from_step.as_str()), index.get(row.to_step.as_str()));
            match (from, to) {
                (None, Some(to)) if row.from_step.is_empty() => {
                    if let Some(step) = steps.get_mut(*to) {
                        step.reached += row.calls;
                    }
                }
                (Some(from), None) if row.to_step.is_empty() => {
                    let Some(step) = steps.get_mut(*from) else { continue };
                    match Outcome::of_word(&row.way) {
                        Some(Outcome::Registered) => step.registered += row.calls,
                        Some(Outcome::HungUp) => step.hung_up += row.calls,
                        Some(Outcome::Failed) => step.failed += row.calls,
                        _ => step.ended += row.calls,
                    }
                }
                (Some(from), Some(to)) => {
                    let (calls, passes) = ways.entry((*from, *to, row.way.clone())).or_default();
                    *calls += row.calls;
                    *passes += row.passes;
                }
                _ => {}
            }
        }
        let way = |((from, to, way), (calls, passes))| WayCount { from, way, to, calls, passes };
        let mut ways: Vec<_> = ways.into_iter().map(way).collect();
        ways.sort_by_key(|w| (w.from, -w.calls, w.to));
        Self { plan, steps, ways }
    }

    /// Calls in all: those that came to where every call begins.
    pub fn calls(&self) -> i64 {
        self.steps.get(self.plan.start).map_or(0, |s| s.reached)
    }

    /// The states in which callers gave up, most first.
    pub fn given_up(&self) -> Vec<(usize, StepCount)> {
        let mut list: Vec<_> = self.steps.iter().copied().enumerate().filter(|(_, s)| s.hung_up > 0).collect();
        list.sort_by_key(|(n, s)| (-s.hung_up, *n));
        list
    }

    /// A way in words.
    pub fn in_words(&self, way: &WayCount) -> String {
        self.plan.states.get(way.from).map_or_else(String::new, |state| way_in_words(state, &way.way))
    }

    /// The drawing. Everything in it is said by the numbers beside it, too.
    pub fn svg(&self) -> String {
        let layers = layers(self.plan);
        let widest = layers.iter().map(Vec::len).max().unwrap_or(1);
        let width = widest * (BOX_W + GAP_X) - GAP_X + 2 * MARGIN;
        let height = layers.len() * (BOX_H + GAP_Y) - GAP_Y.min(layers.len() * GAP_Y) + 2 * MARGIN;
        let mut place = vec![(0, 0); self.plan.states.len()];
        for (row, layer) in layers.iter().enumerate() {
            let row_width = layer.len() * (BOX_W + GAP_X) - GAP_X;
            for (column, index) in layer.iter().enumerate() {
                if let Some(place) = place.get_mut(*index) {
                    *place = ((width - row_width) / 2 + column * (BOX_W + GAP_X), MARGIN + row * (BOX_H + GAP_Y));
                }
            }
        }
        let mut svg = format!(
            "<svg class=\"vg-flow\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
             aria-labelledby=\"flusso-titolo flusso-testo\">\n<title id=\"flusso-titolo\">Il percorso delle telefonate</title>\n\
             <desc id=\"flusso-testo\">{}</desc>\n<defs><marker id=\"flusso-freccia\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"9\" \
             markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#17324d\"/></marker></defs>\n",
            escape(&self.description())
        );
        self.edges(&mut svg, &place);
        for (index, (x, y)) in place.iter().enumerate() {
            self.node(&mut svg, index, *x, *y);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn description(&self) -> String {
        let most = self.given_up().first().and_then(|(n, s)| Some((self.plan.states.get(*n)?, *s)));
        let worst = most.map_or_else(
            || "Nessuno ha riagganciato senza fare nulla.".to_owned(),
            |(state, step)| format!("Si riaggancia di più in «{}»: {} su {}.", state.title, points(step.hung_up), points(step.reached)),
        );
        format!("{} telefonate. {worst} Tutti i numeri sono nelle tabelle sotto il disegno.", points(self.calls()))
    }

    fn edges(&self, svg: &mut String, place: &[(usize, usize)]) {
        let mut merged: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        for way in self.ways.iter().filter(|w| w.from != w.to) {
            *merged.entry((way.from, way.to)).or_default() += way.calls;
        }
        let most = merged.values().copied().max().unwrap_or(0).max(1);
        let mut nth = vec![0usize; place.len()];
        // Thin ones first, so that they do not lie on those that matter.
        let mut list: Vec<_> = merged.into_iter().collect();
        list.sort_by_key(|((from, to), calls)| (*calls, *from, *to));
        for ((from, to), calls) in list {
            let (Some(a), Some(b), Some(n)) = (place.get(from), place.get(to), nth.get_mut(from)) else { continue };
            edge(svg, *a, *b, calls, most, *n);
            *n += 1;
        }
    }

    fn node(&self, svg: &mut String, index: usize, x: usize, y: usize) {
        let (Some(state), Some(step)) = (self.plan.states.get(index), self.steps.get(index)) else { return };
        let (fill, stroke) = if step.reached > 0 { colours(state) } else { ("#f5f6f7", "#8796a5") };
        let heavy = if step.share() >= 10 && step.hung_up > 0 { 3 } else { 1 };
        let stroke = if heavy > 1 { "#a32337" } else { stroke };
        let title: String = if state.title.chars().count() > FITS {
            state.title.chars().take(FITS - 1).chain(['…']).collect()
        } else {
            state.title.clone()
        };
        let end = match (step.hung_up, &state.kind) {
            (0, Kind::HangUp { .. }) => String::new(),
            (0, _) if step.registered > 0 => format!("{} chiudono qui, servite", points(step.registered)),
            (0, _) => String::new(),
            (n, _) => format!("{} riagganciano ({}%)", points(n), step.share()),
        };
        let colour = if step.hung_up > 0 { "#a32337" } else { "#435a70" };
        let _ = writeln!(
            svg,
            "<g><title>{whole}: {kind}</title><rect x=\"{x}\" y=\"{y}\" width=\"{BOX_W}\" height=\"{BOX_H}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\" \
             stroke-width=\"{heavy}\"/><text x=\"{cx}\" y=\"{y1}\" text-anchor=\"middle\" font-size=\"15\" font-weight=\"600\" fill=\"#17324d\">{title}</text>\
             <text x=\"{cx}\" y=\"{y2}\" text-anchor=\"middle\" font-size=\"13\" fill=\"#17324d\">{reached}</text>\
             <text x=\"{cx}\" y=\"{y3}\" text-anchor=\"middle\" font-size=\"13\" fill=\"{colour}\">{end}</text></g>",
            whole = escape(&state.title),
            kind = escape(&kind_in_words(state)),
            cx = x + BOX_W / 2,
            y1 = y + 24,
            y2 = y + 44,
            y3 = y + 63,
            title = escape(&title),
            reached = match step.reached {
                0 => "nessuna telefonata".to_owned(),
                1 => "una telefonata".to_owned(),
                n => format!("{} telefonate", points(n)),
            },
            end = escape(&end),
        );
    }
}

fn edge(svg: &mut String, from: (usize, usize), to: (usize, usize), calls: i64, most: i64, nth: usize) {
    let forward = to.1 > from.1;
    // Ways out leave beside each other, so that their numbers do not lie on one another.
    let spread = 24 + (nth * 43) % (BOX_W - 48);
    let (x1, y1) = (from.0 + spread, if forward { from.1 + BOX_H } else { from.1 });
    let (x2, y2) = (to.0 + BOX_W / 2, if forward { to.1 } else { to.1 + BOX_H });
    let dash = if forward { "" } else { " stroke-dasharray=\"6 4\"" };
    let (c1, c2) = if forward { (y1 + GAP_Y / 2, y2.saturating_sub(GAP_Y / 2)) } else { (y1.saturating_sub(GAP_Y / 2), y2 + GAP_Y / 2) };
    let (colour, width) =
        if calls > 0 { ("#0066cc", 1.5 + (WIDEST - 1.5) * (calls as f64 / most as f64).sqrt()) } else { ("#c5cdd5", 1.0) };
    let _ = writeln!(
        svg,
        "<path d=\"M{x1} {y1} C{x1} {c1} {x2} {c2} {x2} {y2}\" fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"0.75\" stroke-width=\"{width:.1}\"{dash} \
         marker-end=\"url(#flusso-freccia)\"/>"
    );
    if calls > 0 {
        let y = if forward { y1 + 18 + 14 * (nth % 3) } else { y1.saturating_sub(6 + 13 * (nth % 3)) };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{y}\" font-size=\"12\" font-weight=\"600\" fill=\"#17324d\" stroke=\"#fff\" stroke-width=\"4\" paint-order=\"stroke\">{}</text>",
            x1 + 5,
            points(calls)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Traffic {
        let parts: Vec<_> = text.split('|').map(str::trim).collect();
        let n = |at: usize| parts[at].parse().unwrap();
        Traffic { from_step: parts[0].into(), way: parts[1].into(), to_step: parts[2].into(), calls: n(3), passes: n(4) }
    }

    fn counted() -> Vec<Traffic> {
        [
            "||orario|1200|1200",
            "||benvenuto|1180|1180",
            "||codice|1180|1300",
            "||menu|1000|1100",
            "||chiuso|20|20",
            "||una volta|5|5",
            "orario|open|benvenuto|1180|1180",
            "orario|closed|chiuso|20|20",
            "benvenuto||codice|1180|1180",
            "codice|wrong|codice|90|120",
            "codice|hung_up||180|180",
            "chiuso|ended||20|20",
            "menu|hung_up||30|30",
            "menu|registered||3|3",
            "menu|failed||2|2",
            "altro|*|registrata|4|4",
        ]
        .map(row)
        .into()
    }

    #[test]
    fn where_people_give_up() {
        let plan = Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap();
        let map = FlowMap::new(&plan, &counted());
        assert_eq!(map.calls(), 1_200);
        let given_up: Vec<_> =
            map.given_up().into_iter().map(|(n, s)| (plan.states[n].name.as_str(), s.hung_up, s.reached, s.share())).collect();
        assert_eq!(given_up, [("codice", 180, 1_180, 15), ("menu", 30, 1_000, 3)]);
        let lines: Vec<_> = map
            .ways
            .iter()
            .filter(|w| w.calls > 0)
            .map(|w| {
                format!("{} → {}: {}, {} ({})", plan.states[w.from].title, plan.states[w.to].title, map.in_words(w), w.calls, w.passes)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(map.description().contains("«Digita il codice»: 180 su 1.180"));
    }

    #[test]
    fn the_drawing_has_every_state_and_says_what_it_shows() {
        let plan = Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap();
        insta::assert_snapshot!(FlowMap::new(&plan, &counted()).svg());
        let empty = FlowMap::new(&plan, &[]).svg();
        assert!(plan.states.iter().all(|s| empty.contains(&format!(">{}</text>", s.title))));
        assert!(!empty.contains("style=") && empty.contains("0 telefonate. Nessuno ha riagganciato"));
    }
}
