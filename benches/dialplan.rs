//! Steps a second of the dialplan machine: a whole call, from the answer to the receipt.

use std::{hint::black_box, path::Path, sync::Arc};

use chrono::{NaiveDate, NaiveTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voceguida::{
    canteen::{ChildId, offer::Offered},
    desk::line::{Identification, Identified, LineHours, LineOutcome},
    voice::{
        machine::{Input, Machine, Output, Reply, Request},
        plan::Plan,
    },
};

/// Code, cancel, confirm, end: every input is a step.
fn call(plan: &Arc<Plan>) -> u64 {
    let mut machine = Machine::new(Arc::clone(plan));
    let mut keys = "1234567113".chars();
    let day = NaiveDate::from_ymd_opt(2026, 10, 15).unwrap_or_default();
    let (mut steps, mut now, mut playing) = (0, 0, None);
    machine.handle(now, Input::Start);
    while !machine.is_over() {
        let mut reply = None;
        while let Some(output) = machine.poll() {
            match output {
                Output::Play { id, prompts } => playing = Some((id, black_box(prompts))).map(|(id, _)| id),
                Output::Ask { id, request } => {
                    let hours = LineHours { open: true, opens: NaiveTime::MIN, closes: NaiveTime::MIN, offered: Offered::ALL };
                    let answer = match request {
                        Request::Hours => Reply::Hours(hours),
                        Request::Identify { .. } => Reply::Identified(Identification::Known(Identified { child: ChildId(1) })),
                        _ => Reply::Outcome(LineOutcome::Accepted { day, receipt: Some("493817".to_owned()) }),
                    };
                    reply = Some((id, answer));
                }
                Output::Stop | Output::HangUp => playing = None,
            }
        }
        now += 100;
        let input = match (reply, playing.take()) {
            (Some((id, reply)), _) => Input::Reply(id, reply),
            (None, Some(id)) => Input::Played(id),
            (None, None) => keys.next().map_or(Input::Ended, Input::Digit),
        };
        machine.handle(now, input);
        steps += 1;
    }
    steps
}

fn dialplan(c: &mut Criterion) {
    let Ok(plan) = Plan::load(Path::new("dialplans/mensa.toml")).map(Arc::new) else { return };
    let steps = call(&plan);
    let mut group = c.benchmark_group("dialplan");
    group.throughput(Throughput::Elements(steps));
    group.bench_function("a whole call", |b| b.iter(|| call(black_box(&plan))));
    group.finish();
}

criterion_group!(benches, dialplan);
criterion_main!(benches);
