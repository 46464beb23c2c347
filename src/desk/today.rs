//! The morning at a glance: is the line open, what came in, how it compares with a usual day.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::{
    Desk, DeskError, ente_of,
    kitchen::{DayCount, count},
};
use crate::canteen::{EnteId, window::Window};

/// A usual day: the same weekday of so many weeks before.
const WEEKS: u64 = 6;
/// Calls and operations that the chart counts at the most.
const MOST_MOMENTS: i64 = 100_000;
/// Width of the chart's bars.
const BAR: TimeDelta = TimeDelta::minutes(15);

/// Today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Today {
    /// Local time.
    pub now: NaiveDateTime,
    /// The day that is shown: today, and from the evening's opening on tomorrow.
    pub day: NaiveDate,
    /// The line: open until then, or closed until then.
    pub line_open: bool,
    /// When that changes, local.
    pub line_changes: NaiveDateTime,
    /// The cut-off of the day that is shown, local.
    pub cutoff: NaiveDateTime,
    /// Time left to it; `None` once it has passed.
    pub left: Option<TimeDelta>,
    /// The counts.
    pub count: DayCount,
    /// Calls that began in the last hour.
    pub calls_last_hour: i64,
    /// Cancellations for the day that stand, by channel.
    pub channels: Vec<Channel>,
    /// How many days the comparison rests on.
    pub usual_days: usize,
    /// Calls and cancellations by time.
    pub bars: Vec<Bar>,
}

/// Cancellations of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// `phone`, `web`, `office`.
    pub channel: String,
    /// So far.
    pub count: i64,
    /// At this time on a usual day: the median of the same weekday's last weeks; `None` where there were none.
    pub usual: Option<i64>,
}

/// A bar of the chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// From this local time on.
    pub from: NaiveDateTime,
    /// To before this one.
    pub to: NaiveDateTime,
    /// Calls.
    pub calls: u32,
    /// Cancellations accepted.
    pub cancellations: u32,
}

impl Desk {
    /// The picture of now.
    pub async fn today(&self, ente: EnteId) -> Result<Today, DeskError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let now = window.local(at);
        let day = shown_day(&window, at);
        let cutoff = day.and_time(window.cutoff);
        let (line_open, line_changes) = line(&window, at);
        let mut so_far: BTreeMap<String, (i64, Vec<i64>)> = BTreeMap::new();
        for row in tx.cancellations_by_channel(ente, day, at).await? {
            so_far.entry(row.channel).or_default().0 = row.count;
        }
        let weeks: Vec<NaiveDate> = (1..=WEEKS).filter_map(|week| day.checked_sub_days(Days::new(7 * week))).collect();
        let usual = tx.usual_days(ente, &weeks).await?;
        for (nth, before) in usual.iter().enumerate() {
            // The same time of that day, or of the evening before it.
            let then = window.instant(now - (day - *before));
            for row in tx.cancellations_by_channel(ente, *before, then).await? {
                let counts = &mut so_far.entry(row.channel).or_default().1;
                counts.resize(nth, 0);
                counts.push(row.count);
            }
        }
        for channel in ["phone", "web"] {
            so_far.entry(channel.to_owned()).or_default();
        }
        let channels = so_far.into_iter().map(|(channel, (count, mut counts))| {
            counts.resize(usual.len(), 0);
            Channel { channel, count, usual: median(counts) }
        });
        let channels = channels.collect();
        let bars = bars(&window, day);
        let bars = match (bars.first(), bars.last()) {
            (Some(first), Some(last)) => {
                let (from, to) = (window.instant(first.from), window.instant(last.to));
                let moments = tx.moments(ente, from, to, MOST_MOMENTS).await?;
                fill(bars, moments.iter().map(|m| (window.local(m.at), m.what.as_str())))
            }
            _ => bars,
        };
        let calls_last_hour = tx.calls_between(ente, at - TimeDelta::hours(1), at).await?;
        let count = count(&mut tx, ente, day, None).await?;
        let left = window.day_is_open(day, at).then(|| cutoff - now);
        Ok(Today { now, day, line_open, line_changes, cutoff, left, count, calls_last_hour, channels, usual_days: usual.len(), bars })
    }
}

/// Today, and from the opening for tomorrow on tomorrow.
fn shown_day(window: &Window, at: DateTime<Utc>) -> NaiveDate {
    let now = window.local(at);
    if window.opens > window.cutoff && now.time() >= window.opens {
        now.date().checked_add_days(Days::new(1)).unwrap_or(now.date())
    } else {
        now.date()
    }
}

/// Is the line open, and when does that change?
fn line(window: &Window, at: DateTime<Utc>) -> (bool, NaiveDateTime) {
    let now = window.local(at);
    let next = |time: NaiveTime, after: bool| {
        let day = now.date();
        let day = if after { day.checked_add_days(Days::new(1)).unwrap_or(day) } else { day };
        day.and_time(time)
    };
    match window.search_start(at) {
        Some(_) => (true, next(window.cutoff, now.time() > window.cutoff)),
        None => (false, next(window.opens, now.time() > window.opens)),
    }
}

/// The middle one of them; of an even number the lower one.
fn median(mut counts: Vec<i64>) -> Option<i64> {
    counts.sort_unstable();
    counts.get(counts.len().saturating_sub(1) / 2).copied()
}

/// One bar for the evening and night, then a quarter of an hour each from three hours before the cut-off to half an hour after it.
fn bars(window: &Window, day: NaiveDate) -> Vec<Bar> {
    let cutoff = day.and_time(window.cutoff);
    let evening = if window.opens > window.cutoff { day.pred_opt().unwrap_or(day) } else { day }.and_time(window.opens);
    let bar = |from, to| Bar { from, to, calls: 0, cancellations: 0 };
    let first = (cutoff - TimeDelta::hours(3)).max(evening);
    let mut bars = Vec::new();
    if evening < first {
        bars.push(bar(evening, first));
    }
    let mut from = first;
    while from < cutoff + TimeDelta::minutes(30) && bars.len() < 40 {
        bars.push(bar(from, from + BAR));
        from += BAR;
    }
    bars
}

fn fill<'a>(mut bars: Vec<Bar>, moments: impl Iterator<Item = (NaiveDateTime, &'a str)>) -> Vec<Bar> {
    for (at, what) in moments {
        if let Some(bar) = bars.iter_mut().find(|b| b.from <= at && at < b.to) {
            match what {
                "call" => bar.calls += 1,
                "cancel" => bar.cancellations += 1,
                _ => {}
            }
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn from_the_evening_on_it_is_about_tomorrow() {
        let w = Window::default();
        let shown = |text| shown_day(&w, at(text)).to_string();
        assert_eq!(shown("2026-10-12T15:59:59Z"), "2026-10-12");
        assert_eq!(shown("2026-10-12T16:00:00Z"), "2026-10-13");
        assert_eq!(shown("2026-10-13T06:55:00Z"), "2026-10-13");
    }

    #[test]
    fn the_line_is_open_or_will_be() {
        let w = Window::default();
        let told = |text| {
            let (open, until) = line(&w, at(text));
            format!("{open} {until}")
        };
        assert_eq!(told("2026-10-12T16:30:00Z"), "true 2026-10-13 09:00:00");
        assert_eq!(told("2026-10-13T06:30:00Z"), "true 2026-10-13 09:00:00");
        assert_eq!(told("2026-10-13T07:00:01Z"), "false 2026-10-13 18:00:00");
    }

    #[test]
    fn a_usual_day_is_the_middle_one() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(vec![4, 2]), Some(2));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn the_bars_lie_side_by_side() {
        let bars = bars(&Window::default(), at("2026-10-13T00:00:00Z").date_naive());
        assert!(bars.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!((bars.len(), bars[1].from.to_string().as_str()), (15, "2026-10-13 06:00:00"));
    }
}
