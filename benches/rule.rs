//! Decisions a second: the rule itself, and the rule as the `rule --jsonl` filter.

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
};

use chrono::{DateTime, NaiveDate, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voceguida::canteen::{
    Choice,
    calendar::ServiceCalendar,
    case,
    marks::Marks,
    rule::{Request, decide},
    window::Window,
};

fn rule(c: &mut Criterion) {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap_or_default();
    let calendar = ServiceCalendar {
        first: day("2026-09-14"),
        last: day("2027-06-08"),
        weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
        weekdays_from: BTreeMap::new(),
        closed: BTreeSet::from([day("2026-10-13"), day("2026-10-14")]),
    };
    let marks = Marks { cancelled: (1..20).filter_map(|d| NaiveDate::from_ymd_opt(2026, 11, d)).collect(), ..Marks::default() };
    let at = DateTime::<Utc>::from_timestamp(1_791_823_800, 0).unwrap_or_default();
    let mut group = c.benchmark_group("rule");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decide", |b| {
        b.iter(|| decide(black_box(at), &Window::default(), Request::Phone(Choice::Cancel), &calendar, &marks));
    });
    let line = r#"{"id":1,"at":"2026-10-12T18:30:00+02:00","channel":"phone","option":"cancel","calendar":{"term":["2026-09-14","2027-06-08"],"weekdays":["mon","tue","wed","thu","fri"],"closed":["2026-10-13","2026-10-14"]},"child":{"cancelled":[],"white":[],"suspended":[["2026-11-02",null]]}}"#;
    group.bench_function("json line", |b| b.iter(|| case::answer(black_box(line))));
    group.finish();
}

criterion_group!(benches, rule);
criterion_main!(benches);
