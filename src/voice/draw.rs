//! Draws a dialplan: Mermaid text, and an SVG of its own layout. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use super::plan::{Action, Kind, Plan, State};

const BOX_W: usize = 190;
const BOX_H: usize = 54;
const GAP_X: usize = 40;
const GAP_Y: usize = 92;
const MARGIN: usize = 40;

/// What a state does, in a few words.
fn kind_words(state: &State) -> String {
    match &state.kind {
        Kind::Play { play, .. } => format!("dice: {}", play.first().map(ToString::to_string).unwrap_or_default()),
        Kind::Menu(menu) => format!("menù: {}", menu.keys.keys().map(char::to_string).collect::<Vec<_>>().join(" ")),
        Kind::Digits(digits) => format!("chiede {} cifre", digits.digit_len),
        Kind::Action { action, .. } => match action {
            Action::Hours => "orario?",
            Action::Identify => "chi è?",
            Action::Preview => "quale giorno?",
            Action::Operate => "REGISTRA",
            Action::Outlook { .. } => "prossimi giorni?",
        }
        .to_owned(),
        Kind::HangUp { .. } => "riaggancia".to_owned(),
    }
}

pub(super) fn colours(state: &State) -> (&'static str, &'static str) {
    match &state.kind {
        Kind::Play { .. } => ("#f2f7fc", "#0066cc"),
        Kind::Menu(_) | Kind::Digits(_) => ("#fff7e0", "#a66300"),
        Kind::Action { .. } => ("#e6f5ec", "#00733b"),
        Kind::HangUp { .. } => ("#fdecef", "#b3273a"),
    }
}

/// The ways out of a state, those to the same place as one, with all their labels.
fn merged(plan: &Plan, state: &State) -> BTreeMap<usize, String> {
    let mut ways: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (label, to) in plan.ways(state) {
        ways.entry(to).or_default().push(label);
    }
    let shorten = |labels: Vec<String>| match labels.len() {
        0..=2 => labels.join(", "),
        n => format!("{}, {} …", labels[0], labels[1]).replace(" …", &format!(" e altri {}", n - 2)),
    };
    ways.into_iter().map(|(to, labels)| (to, shorten(labels))).collect()
}

/// The flow as a Mermaid flowchart.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = format!("%% {}\nflowchart TD\n", plan.title);
    for (index, state) in plan.states.iter().enumerate() {
        let _ = writeln!(text, "  s{index}[\"{}<br/><small>{}</small>\"]", state.name, kind_words(state).replace('"', "'"));
        for (to, label) in merged(plan, state) {
            let _ = if label.is_empty() { writeln!(text, "  s{index} --> s{to}") } else { writeln!(text, "  s{index} -->|{label}| s{to}") };
        }
    }
    text
}

/// The layer of each state: how many steps it is from the start.
pub(super) fn layers(plan: &Plan) -> Vec<Vec<usize>> {
    let mut depth = vec![None; plan.states.len()];
    let mut layers: Vec<Vec<usize>> = vec![];
    let mut current = vec![plan.start];
    while !current.is_empty() {
        let mut next = vec![];
        let mut layer = vec![];
        for index in current {
            let Some(state) = plan.states.get(index).filter(|_| depth[index].is_none()) else { continue };
            depth[index] = Some(layers.len());
            layer.push(index);
            next.extend(plan.ways(state).into_iter().map(|(_, to)| to));
        }
        // Ends stand to the right, where their many edges cross least.
        layer.sort_by_key(|i| plan.states.get(*i).is_some_and(|s| matches!(s.kind, Kind::HangUp { .. })));
        if !layer.is_empty() {
            layers.push(layer);
        }
        current = next;
    }
    let unreached: Vec<_> = (0..plan.states.len()).filter(|i| depth[*i].is_none()).collect();
    if !unreached.is_empty() {
        layers.push(unreached);
    }
    layers
}

/// The flow as a picture.
pub fn svg(plan: &Plan) -> String {
    let layers = layers(plan);
    let widest = layers.iter().map(Vec::len).max().unwrap_or(1);
    let width = widest * (BOX_W + GAP_X) - GAP_X + 4 * MARGIN;
    let height = layers.len() * (BOX_H + GAP_Y) - GAP_Y + 2 * MARGIN + 40;
    let mut place = vec![(0, 0); plan.states.len()];
    for (row, layer) in layers.iter().enumerate() {
        let row_width = layer.len() * (BOX_W + GAP_X) - GAP_X;
        for (column, index) in layer.iter().enumerate() {
            place[*index] = ((width - row_width) / 2 + column * (BOX_W + GAP_X), MARGIN + 40 + row * (BOX_H + GAP_Y));
        }
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-labelledby=\"t d\" font-family=\"'Titillium Web', system-ui, sans-serif\">\n\
         <title id=\"t\">{title}</title>\n<desc id=\"d\">Flusso della linea telefonica: {states} stati, dall'inizio «{start}».</desc>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{MARGIN}\" y=\"40\" font-size=\"22\" font-weight=\"700\" fill=\"#17324d\">{title}</text>\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#5b6f82\"/></marker></defs>\n",
        title = escape(&plan.title),
        states = plan.states.len(),
        start = escape(plan.states.get(plan.start).map_or("", |s| s.name.as_str())),
    );
    for (index, state) in plan.states.iter().enumerate() {
        for (nth, (to, label)) in merged(plan, state).into_iter().enumerate() {
            edge(&mut text, place[index], place[to], &label, nth);
        }
    }
    for (index, state) in plan.states.iter().enumerate() {
        let (x, y) = place[index];
        let (fill, stroke) = colours(state);
        let bold = if index == plan.start { 3 } else { 1 };
        let _ = writeln!(
            text,
            "<g><rect x=\"{x}\" y=\"{y}\" width=\"{BOX_W}\" height=\"{BOX_H}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{bold}\"/>\
             <text x=\"{cx}\" y=\"{y1}\" text-anchor=\"middle\" font-size=\"15\" font-weight=\"600\" fill=\"#17324d\">{name}</text>\
             <text x=\"{cx}\" y=\"{y2}\" text-anchor=\"middle\" font-size=\"12\" fill=\"#435a70\">{words}</text></g>",
            cx = x + BOX_W / 2,
            y1 = y + 23,
            y2 = y + 42,
            name = escape(&state.name),
            words = escape(&kind_words(state)),
        );
    }
    text.push_str("</svg>\n");
    text
}

fn edge(text: &mut String, from: (usize, usize), to: (usize, usize), label: &str, nth: usize) {
    let forward = to.1 > from.1;
    // Ways out leave beside each other, so that their labels do not lie on one another.
    let spread = 24 + (nth * 37) % (BOX_W - 48);
    let (x1, y1) = (from.0 + spread, if forward { from.1 + BOX_H } else { from.1 });
    let (x2, y2) = (to.0 + BOX_W / 2, if forward { to.1 } else { to.1 + BOX_H });
    let dash = if forward { "" } else { " stroke-dasharray=\"5 4\"" };
    let (c1, c2) = if forward { (y1 + GAP_Y / 2, y2 - GAP_Y / 2) } else { (y1.saturating_sub(GAP_Y / 2), y2 + GAP_Y / 2) };
    let _ = writeln!(
        text,
        "<path d=\"M{x1} {y1} C{x1} {c1} {x2} {c2} {x2} {y2}\" fill=\"none\" stroke=\"#8796a5\" stroke-width=\"1.3\"{dash} marker-end=\"url(#a)\"/>"
    );
    if !label.is_empty() {
        // Near where the way leaves: there it belongs to one box only.
        let y = if forward { y1 + 16 + 13 * (nth % 4) } else { y1.saturating_sub(6 + 12 * (nth % 3)) };
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{y}\" font-size=\"11\" fill=\"#17324d\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
            x1 + 4,
            escape(label)
        );
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_line_that_ships_is_drawn() {
        let plan = Plan::load(Path::new("dialplans/mensa.toml")).unwrap();
        insta::assert_snapshot!(mermaid(&plan));
        let picture = svg(&plan);
        assert!(plan.states.iter().all(|s| picture.contains(&format!(">{}</text>", s.name))));
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>") && picture.contains("<title"));
    }
}
