//! Charts, drawn on the server as SVG that says in words what it shows.

use std::fmt::Write as _;

use super::html::{Html, escaped};
use crate::desk::today::Bar;

const WIDTH: usize = 760;
const HEIGHT: usize = 240;
const LEFT: usize = 36;
const BOTTOM: usize = 34;
const TOP: usize = 12;

/// Calls and cancellations over the morning: two bars beside each other for each stretch of time.
pub fn morning(bars: &[Bar]) -> Html {
    let most = bars.iter().map(|b| b.calls.max(b.cancellations)).max().unwrap_or(0).max(4) as usize;
    let step = most.div_ceil(4);
    let scale = step * 4;
    let room = HEIGHT - TOP - BOTTOM;
    let slot = (WIDTH - LEFT) / bars.len().max(1);
    let (calls, cancellations) = bars.iter().fold((0, 0), |(c, d), b| (c + b.calls, d + b.cancellations));
    let mut svg = format!(
        r#"<svg class="vg-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="grafico-titolo grafico-testo"><title id="grafico-titolo">Telefonate e disdette nel tempo</title><desc id="grafico-testo">In tutto {calls} telefonate e {cancellations} disdette. I numeri sono nella tabella sotto il grafico.</desc>"#
    );
    for line in 0..=4 {
        let y = TOP + room - room * line / 4;
        let _ = write!(
            svg,
            r#"<path class="vg-axis" d="M{LEFT} {y}H{WIDTH}"/><text class="vg-tick" x="{}" y="{}" text-anchor="end">{}</text>"#,
            LEFT - 6,
            y + 4,
            step * line
        );
    }
    for (n, bar) in bars.iter().enumerate() {
        let x = LEFT + n * slot;
        let width = (slot / 2).saturating_sub(3).max(2);
        for (nth, (value, class)) in [(bar.calls, "vg-calls"), (bar.cancellations, "vg-cancellations")].into_iter().enumerate() {
            let height = room * value as usize / scale;
            let _ = write!(
                svg,
                r#"<rect class="{class}" x="{}" y="{}" width="{width}" height="{height}"/>"#,
                x + 2 + nth * (width + 1),
                TOP + room - height
            );
        }
        if n % 2 == 0 || n == 0 {
            let label = if n == 0 { "notte".to_owned() } else { bar.from.format("%-H:%M").to_string() };
            let _ = write!(
                svg,
                r#"<text class="vg-tick" x="{}" y="{}" text-anchor="middle">{}</text>"#,
                x + slot / 2,
                HEIGHT - 12,
                escaped(&label)
            );
        }
    }
    svg.push_str("</svg>");
    Html(svg)
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, TimeDelta};

    use super::*;

    #[test]
    fn the_chart_fits_its_frame_and_says_what_it_shows() {
        let start = NaiveDate::from_ymd_opt(2026, 10, 12).unwrap().and_hms_opt(6, 0, 0).unwrap();
        let at = |n: i32| start + TimeDelta::minutes(i64::from(n) * 15);
        let bars: Vec<Bar> = (0..15).map(|n| Bar { from: at(n), to: at(n + 1), calls: 900 * n as u32, cancellations: n as u32 }).collect();
        let svg = morning(&bars).0;
        assert!(svg.contains("In tutto 94500 telefonate e 105 disdette"));
        let heights = svg.split("height=\"").skip(1).filter_map(|s| s.split('"').next()?.parse::<usize>().ok());
        assert!(heights.max().unwrap() <= HEIGHT);
        morning(&[]);
    }
}
