//! Random years of meals, tariffs, corrections and families, billed month by month: whatever happens, the accounts balance to the cent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Days, NaiveDate, Weekday};
use proptest::prelude::*;
use rand::{
    SeedableRng,
    rngs::ChaCha12Rng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use voceguida::billing::{
    BasisPoints, Cents, DaySet, Month,
    account::{NewLine, Reckoning, reckon},
    family::{Isee, Relief, ReliefKind, Shares},
    outcome::{Held, Outcome, Payer, Totals, outcome},
    price::{Item, PriceBook},
    tariff::{Rate, SchoolOrder, Scope, Tariff, Tariffs},
    world::{Change, Child, IssuedLine, Reason, World},
};

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn bp(n: i64) -> BasisPoints {
    n.try_into().unwrap()
}

const FIRST: &str = "2026-09-14";
const LAST: &str = "2027-01-31";

/// All that is true of an invented town, kept plainly; what was issued is kept beside it.
#[derive(Clone)]
struct Town {
    tariffs: Vec<Tariff>,
    isee: BTreeMap<i64, Vec<Isee>>,
    children: BTreeMap<i64, Kid>,
    lines: Vec<(i64, IssuedLine)>,
    next: i64,
}

#[derive(Clone, Default)]
struct Kid {
    born: Option<NaiveDate>,
    first: Option<NaiveDate>,
    payer: Option<i64>,
    shares: Vec<Shares>,
    residence: Vec<(NaiveDate, i64, bool)>,
    reliefs: Vec<Relief>,
    /// School, and whether a meal is due; `None`: not counted.
    days: BTreeMap<NaiveDate, (i64, Option<bool>)>,
}

impl Town {
    fn id(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn invent(rng: &mut ChaCha12Rng) -> Self {
        let mut town = Self { tariffs: vec![], isee: BTreeMap::new(), children: BTreeMap::new(), lines: vec![], next: 100 };
        let first = date("2026-09-01");
        town.add_tariff(rng, first);
        for id in 0..rng.random_range(1..6) {
            let mut kid = Kid { payer: rng.random_ratio(14, 15).then(|| rng.random_range(1..4)), ..Kid::default() };
            kid.born = rng.random_ratio(4, 5).then(|| date("2014-01-01") + Days::new(rng.random_range(0..2_500)));
            kid.first = rng.random_ratio(1, 6).then(|| date(FIRST) + Days::new(rng.random_range(0..90)));
            let school = rng.random_range(1..3);
            for day in date(FIRST).iter_days().take_while(|day| *day <= date(LAST)) {
                if matches!(day.weekday(), Weekday::Tue | Weekday::Thu) && kid.first.is_none_or(|first| first <= day) {
                    kid.days.insert(day, (school, Some(rng.random_ratio(9, 10))));
                }
            }
            town.children.insert(id, kid);
        }
        town
    }

    fn add_tariff(&mut self, rng: &mut ChaCha12Rng, valid_from: NaiveDate) {
        let mut rates = Vec::new();
        let monthly = if rng.random() { 1_000 } else { 0 };
        for (scope, residents) in [
            (Scope::All, Some(true)),
            (Scope::All, Some(false)),
            (Scope::Order(SchoolOrder::Nursery), None),
            (Scope::School(2), Some(true)),
        ] {
            if scope != Scope::All && rng.random() {
                continue;
            }
            for up_to in [Some(600_000), Some(1_200_000), None] {
                let (id, meal) = (self.id(), Cents(rng.random_range(0..700)));
                rates.push(Rate { id, scope, residents, isee_up_to: up_to.map(Cents), meal, monthly: Cents(monthly) });
            }
        }
        rates.shuffle(rng);
        let siblings = vec![(3, bp(rng.random_range(0..=10_000))), (2, bp(rng.random_range(0..=10_000)))];
        let tariff = Tariff { id: self.id(), valid_from, rates, siblings };
        assert_eq!(tariff.check(), Ok(()));
        self.tariffs.push(tariff);
    }

    /// Something that the office enters, early or late.
    fn something_happens(&mut self, rng: &mut ChaCha12Rng) {
        let day = date(FIRST) + Days::new(rng.random_range(0..140));
        let id = self.id();
        let kids: Vec<i64> = self.children.keys().copied().collect();
        let kid = *kids.choose(rng).unwrap();
        match rng.random_range(0..8) {
            0 => self.add_tariff(rng, day),
            1 => {
                let (value, filed_on) = (Cents(rng.random_range(0..1_500_000)), day + Days::new(rng.random_range(0..60)));
                let isee = Isee { id, value, first: day, last: date("2026-12-31"), filed_on };
                self.isee.entry(rng.random_range(1..4)).or_default().push(isee);
            }
            2 => {
                let kind = match rng.random_range(0..3) {
                    0 => ReliefKind::Exempt,
                    1 => ReliefKind::Percentage(bp(rng.random_range(0..=10_000))),
                    _ => ReliefKind::FixedPrice(Cents(rng.random_range(0..400))),
                };
                let last = rng.random::<bool>().then(|| day + Days::new(30));
                self.children.get_mut(&kid).unwrap().reliefs.push(Relief { id, kind, first: day, last, reason: String::new() });
            }
            3 => {
                let part = rng.random_range(1..10_000);
                let mut who = [1, 2, 3];
                who.shuffle(rng);
                let shares = if rng.random_ratio(1, 3) {
                    vec![(who[0], BasisPoints::WHOLE)]
                } else {
                    vec![(who[0], bp(part)), (who[1], bp(10_000 - part))]
                };
                assert_eq!(Shares::check(&shares), Ok(()));
                self.children.get_mut(&kid).unwrap().shares.push(Shares { id, first: day, shares });
            }
            4 => self.children.get_mut(&kid).unwrap().residence.push((day, id, rng.random())),
            5 => self.children.get_mut(&kid).unwrap().payer = Some(rng.random_range(1..4)),
            6 => {
                self.children.get_mut(&kid).unwrap().reliefs.pop();
            }
            // A correction, or a closure.
            _ => {
                let days = &mut self.children.get_mut(&kid).unwrap().days;
                if let Some((_, state)) = days.range_mut(day..).next().map(|(_, state)| state) {
                    *state = *[None, Some(false), Some(true)].choose(rng).unwrap();
                }
            }
        }
    }

    /// As the desk would hand it over, in an order of chance.
    fn world(&self, rng: &mut ChaCha12Rng) -> World {
        let mut children = Vec::new();
        for (id, kid) in &self.children {
            let mut child = Child { born: kid.born, enrolled_first: kid.first, payer: kid.payer, ..Child::new(*id) };
            let mut days: Vec<_> = kid.days.iter().collect();
            days.shuffle(rng);
            for (day, (school, state)) in days {
                match state {
                    Some(due) => child.count(*day, *school, *due),
                    None => {
                        child.changes.insert(*day, Change { reason: Reason::Closure, note: "Neve".into() });
                    }
                }
            }
            (child.shares, child.residence, child.reliefs) = (kid.shares.clone(), kid.residence.clone(), kid.reliefs.clone());
            child.lines = self.lines.iter().filter(|(of, _)| of == id).map(|(_, line)| line.clone()).collect();
            child.shares.shuffle(rng);
            child.reliefs.shuffle(rng);
            child.lines.shuffle(rng);
            children.push(child);
        }
        children.shuffle(rng);
        let mut tariffs = self.tariffs.clone();
        tariffs.shuffle(rng);
        let reliefs = self.children.values().flat_map(|kid| kid.reliefs.clone());
        World {
            prices: PriceBook::new(Tariffs::new(tariffs), reliefs),
            orders: [(1, SchoolOrder::Nursery)].into(),
            isee: self.isee.iter().map(|(who, all)| (*who, all.clone())).collect(),
            children,
        }
    }

    /// Who pays, written plainly: the office's word, else whom the day was billed to, else the roster's.
    fn payers(&self, kid: i64, day: NaiveDate) -> BTreeMap<i64, i64> {
        let mut entered: Vec<_> = self.children[&kid].shares.iter().filter(|s| s.first <= day).collect();
        entered.sort_by_key(|s| (s.first, s.id));
        if let Some(last) = entered.last() {
            return last.shares.iter().map(|(who, share)| (*who, i64::from(share.get()))).collect();
        }
        let mut billed: Vec<_> =
            self.lines.iter().filter(|(of, l)| *of == kid && l.month == Month::of(day) && l.days.contains(day)).map(|(_, l)| l).collect();
        billed.sort_by_key(|l| l.id);
        billed.first().map(|l| l.payer).or(self.children[&kid].payer).map(|who| (who, 10_000)).into_iter().collect()
    }

    /// What each payer owes for a child's day, written plainly.
    fn due(&self, kid: i64, day: NaiveDate, item: Item) -> BTreeMap<i64, i64> {
        let child = &self.children[&kid];
        let payers = self.payers(kid, day);
        let Some(most) = payers.values().max() else { return BTreeMap::new() };
        let head = *payers.iter().find(|(_, share)| *share == most).unwrap().0;
        let mut tariffs: Vec<_> = self.tariffs.iter().filter(|t| t.valid_from <= day).collect();
        tariffs.sort_by_key(|t| (t.valid_from, t.id));
        let tariff = tariffs.last().unwrap();
        let mut homes: Vec<_> = child.residence.iter().filter(|(from, ..)| *from <= day).collect();
        homes.sort();
        let resident = homes.last().is_none_or(|(.., lives)| *lives);
        let mut isee: Vec<_> = self.isee.get(&head).into_iter().flatten().filter(|i| i.first <= day && day <= i.last).collect();
        isee.sort_by_key(|i| (i.filed_on, i.id));
        let isee = isee.last().map_or(i64::MAX, |i| i.value.0);
        let school = child.days[&day].0;
        let scopes = [Some(Scope::School(school)), (school == 1).then_some(Scope::Order(SchoolOrder::Nursery)), Some(Scope::All)];
        let rate = scopes
            .into_iter()
            .flatten()
            .flat_map(|scope| [(scope, Some(resident)), (scope, None)])
            .find_map(|(scope, residents)| {
                let mut bands: Vec<_> = tariff.rates.iter().filter(|r| r.scope == scope && r.residents == residents).collect();
                bands.sort_by_key(|r| r.isee_up_to.map_or(i64::MAX, |l| l.0));
                bands.into_iter().find(|r| isee <= r.isee_up_to.map_or(i64::MAX, |l| l.0))
            })
            .unwrap();
        let mut family: Vec<_> = self
            .children
            .iter()
            .filter(|(id, c)| c.first.is_none_or(|first| first <= day) && self.payers(**id, day).contains_key(&head))
            .map(|(id, c)| (c.born.unwrap_or(NaiveDate::MAX), *id))
            .collect();
        family.sort_unstable();
        // A meal can stand before the child's enrolment only by mistake; here it never does.
        let rank = family.iter().position(|(_, id)| *id == kid).unwrap() + 1;
        let less = |rank: u8| tariff.siblings.iter().find(|(of, _)| *of == rank).map_or(0, |(_, by)| i128::from(by.get()));
        let sibling = match rank {
            1 => 0,
            2 => less(2),
            _ => less(3),
        };
        let full = if item == Item::Meal { rate.meal } else { rate.monthly };
        let round = |relief: i128| {
            let exact = i128::from(full.0) * (10_000 - sibling) * (10_000 - relief);
            (exact + 50_000_000).div_euclid(100_000_000) as i64
        };
        let eased = child.reliefs.iter().filter(|r| r.holds(day)).map(|r| {
            let cents = match r.kind {
                ReliefKind::Exempt => 0,
                ReliefKind::Percentage(by) => round(i128::from(by.get())),
                ReliefKind::FixedPrice(price) if item == Item::Meal => price.0,
                ReliefKind::FixedPrice(_) => round(0),
            };
            (cents, r.id, item == Item::Meal && matches!(r.kind, ReliefKind::FixedPrice(_)))
        });
        let price = match eased.min() {
            Some((cents, _, fixed)) if fixed || cents < round(0) => cents,
            _ => round(0),
        };
        let mut parts: BTreeMap<i64, i64> = payers.iter().map(|(who, share)| (*who, price * share / 10_000)).collect();
        let mut rest = price - parts.values().sum::<i64>();
        let mut waiting: Vec<_> = payers.iter().map(|(who, share)| (-(price * share % 10_000), *who)).collect();
        waiting.sort_unstable();
        for (_, who) in waiting {
            if rest > 0 {
                *parts.get_mut(&who).unwrap() += 1;
                rest -= 1;
            }
        }
        assert_eq!(parts.values().sum::<i64>(), price, "shares add up");
        parts
    }

    /// All that is due until `last`: by payer, child and day (a flat share by its month's first day).
    fn all_due(&self, last: NaiveDate) -> BTreeMap<(i64, i64, Item, NaiveDate), i64> {
        let mut all = BTreeMap::new();
        for (kid, child) in &self.children {
            let mut months = BTreeSet::new();
            for (day, (_, state)) in child.days.range(..=last) {
                let Some(due) = state else { continue };
                let mut add = |item, at| {
                    for (who, cents) in self.due(*kid, *day, item).into_iter().filter(|(_, cents)| *cents != 0) {
                        all.insert((who, *kid, item, at), cents);
                    }
                };
                if months.insert(Month::of(*day)) {
                    add(Item::Flat, Month::of(*day).first());
                }
                if *due {
                    add(Item::Meal, *day);
                }
            }
        }
        all
    }

    /// All that has been billed, likewise.
    fn all_billed(&self) -> BTreeMap<(i64, i64, Item, NaiveDate), i64> {
        let mut all = BTreeMap::new();
        for (kid, line) in &self.lines {
            for day in line.days.days_of(line.month) {
                let at = if line.item == Item::Flat { line.month.first() } else { day };
                *all.entry((line.payer, *kid, line.item, at)).or_default() += line.unit.0;
            }
        }
        all.retain(|_, cents| *cents != 0);
        all
    }

    fn issue(&mut self, reckoning: &Reckoning, threshold: Cents) -> (BTreeSet<i64>, BTreeSet<i64>) {
        let (mut issued, mut carried) = (BTreeSet::new(), BTreeSet::new());
        let payer = Payer { fiscal_code: Some("RSSMRA85T10A562S".into()), ..Payer::default() };
        for (who, account) in &reckoning.accounts {
            match outcome(account, &payer, threshold).unwrap() {
                None => assert_eq!(account.open(), Ok(Cents::ZERO)),
                Some(Outcome::Carry(amount, held)) => {
                    assert_eq!(held, if amount <= Cents::ZERO { Held::Credit } else { Held::Small });
                    carried.insert(*who);
                }
                Some(Outcome::Issue(amount)) => {
                    assert!(amount >= threshold && amount > Cents::ZERO);
                    let totals = account.lines.iter().map(|line| line.total().unwrap());
                    assert_eq!(Cents::sum(totals), Ok(amount), "the sum of the lines is the total");
                    issued.insert(*who);
                    for line in &account.lines {
                        let id = self.id();
                        let (month, days, item, unit) = (line.key.month, line.days, line.key.item, line.key.unit);
                        let issued = IssuedLine { id, payer: *who, month, days, item, unit, basis: line.key.basis, share: line.key.share };
                        self.lines.push((line.child, issued));
                    }
                }
            }
        }
        (issued, carried)
    }
}

proptest! {
    #[test]
    fn a_year_balances_to_the_cent(seed: u64) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut town = Town::invent(&mut rng);
        let mut month: Month = "2026-09".parse().unwrap();
        while month.first() <= date(LAST) {
            for _ in 0..rng.random_range(0..4) {
                town.something_happens(&mut rng);
            }
            let reckoning = reckon(&town.world(&mut rng), date(FIRST), month.last()).unwrap();
            prop_assert_eq!(&reckoning, &reckon(&town.world(&mut rng), date(FIRST), month.last()).unwrap(), "whatever the order of things");

            // What is due and what has been billed, by a plainer reckoning.
            let by_payer = |all: &BTreeMap<(i64, i64, Item, NaiveDate), i64>| {
                let mut sums = BTreeMap::new();
                for ((who, ..), cents) in all {
                    *sums.entry(*who).or_insert(0) += cents;
                }
                sums.retain(|_, cents| *cents != 0);
                sums
            };
            let sums = |of: fn(&voceguida::billing::account::Account) -> Cents| {
                let sums = reckoning.accounts.iter().map(|(who, account)| (*who, of(account).0));
                sums.filter(|(_, cents)| *cents != 0).collect::<BTreeMap<_, _>>()
            };
            let due = town.all_due(month.last());
            prop_assert_eq!(sums(|a| a.due), by_payer(&due));
            prop_assert_eq!(sums(|a| a.billed), by_payer(&town.all_billed()));

            let before = town.all_billed();
            let threshold = Cents(*[1, 500, 2_000].choose(&mut rng).unwrap());
            let (issued, carried) = town.issue(&reckoning, threshold);
            // Of whom a notice went out, every day is now billed as it is due; of the others nothing was touched.
            let of = |all: &BTreeMap<(i64, i64, Item, NaiveDate), i64>, who: i64| {
                all.iter().filter(|((payer, ..), _)| *payer == who).map(|(k, v)| (*k, *v)).collect::<Vec<_>>()
            };
            let after = town.all_billed();
            for who in 1..4 {
                if issued.contains(&who) {
                    prop_assert_eq!(of(&after, who), of(&due, who));
                } else {
                    prop_assert_eq!(of(&after, who), of(&before, who));
                }
            }
            // A second run does nothing, and what waits waits unchanged.
            let again = reckon(&town.world(&mut rng), date(FIRST), month.last()).unwrap();
            for (who, account) in &again.accounts {
                if issued.contains(who) {
                    prop_assert!(account.lines.is_empty(), "{:?}", account.lines);
                }
                if carried.contains(who) {
                    // Once the others' notices are out a new share may be the first that this payer hears of.
                    let asked = |lines: &[NewLine]| {
                        let asked = lines.iter().cloned().map(|mut line| {
                            line.key.reason = line.key.reason.filter(|reason| *reason != Reason::Share);
                            line
                        });
                        let mut asked: Vec<_> = asked.collect();
                        asked.sort_by(|a, b| (a.child, &a.key, a.days).cmp(&(b.child, &b.key, b.days)));
                        asked
                    };
                    prop_assert_eq!(asked(&account.lines), asked(&reckoning.accounts[who].lines));
                }
            }
            prop_assert_eq!(town.clone().issue(&again, threshold).0, BTreeSet::new());
            month = month.next();
        }
    }
}

/// One child, every school day of October at 3.20, second thoughts afterwards.
fn one_child() -> (Town, ChaCha12Rng) {
    let rate = |id, up_to: Option<i64>, meal| Rate {
        id,
        scope: Scope::All,
        residents: None,
        isee_up_to: up_to.map(Cents),
        meal: Cents(meal),
        monthly: Cents::ZERO,
    };
    let rates = vec![rate(1, Some(1_000_000), 320), rate(2, None, 500)];
    let tariff = Tariff { id: 1, valid_from: date("2026-09-01"), rates, siblings: vec![(2, bp(2_000))] };
    let days = date("2026-10-01").iter_days().take(31).filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun));
    let kid = Kid { payer: Some(1), days: days.map(|day| (day, (1, Some(true)))).collect(), ..Kid::default() };
    let town = Town { tariffs: vec![tariff], isee: BTreeMap::new(), children: [(1, kid)].into(), lines: vec![], next: 100 };
    (town, ChaCha12Rng::seed_from_u64(1))
}

fn told(reckoning: &Reckoning) -> String {
    let mut lines = Vec::new();
    for (who, account) in &reckoning.accounts {
        lines.push(format!("adulto {who}: dovuto {} − emesso {} = {}", account.due, account.billed, account.open().unwrap()));
        for line in &account.lines {
            let days: Vec<_> = line.days.days_of(line.key.month).map(|day| day.day().to_string()).collect();
            let why = line.key.reason.map_or("pasti", Reason::in_words);
            let (unit, total) = (line.key.unit, line.total().unwrap());
            lines.push(format!(
                "  bambino {}, {}: {} × {unit} = {total} ({why}; {}) giorni {}",
                line.child,
                line.key.month,
                line.quantity(),
                line.key.note,
                days.join(" ")
            ));
        }
    }
    lines.join("\n")
}

#[test]
fn second_thoughts_are_followed_by_exactly_the_difference() {
    let (mut town, mut rng) = one_child();
    let mut steps = Vec::new();
    let mut step = |town: &mut Town, what: &str, issue: bool| {
        let reckoning = reckon(&town.world(&mut rng), date(FIRST), date("2026-10-31")).unwrap();
        steps.push(format!("{what}\n{}", told(&reckoning)));
        if issue {
            town.issue(&reckoning, Cents(1));
        }
    };
    step(&mut town, "ottobre", true);
    step(&mut town, "ancora ottobre", true);
    town.children.get_mut(&1).unwrap().days.get_mut(&date("2026-10-13")).unwrap().1 = None;
    step(&mut town, "il 13 era chiuso", true);
    let (first, last, filed_on) = (date("2026-09-01"), date("2026-12-31"), date("2026-11-20"));
    town.isee.entry(1).or_default().push(Isee { id: 1, value: Cents(900_000), first, last, filed_on });
    step(&mut town, "ISEE tardivo, con il 13 ancora da restituire", true);
    town.children.get_mut(&1).unwrap().payer = Some(2);
    step(&mut town, "un'altra spunta nel registro non cambia i giorni emessi", true);
    let shares = vec![(1, bp(6_000)), (2, bp(4_000))];
    town.children.get_mut(&1).unwrap().shares.push(Shares { id: 1, first: date("2026-10-19"), shares });
    step(&mut town, "dal 19 si divide 60/40", true);
    let (kind, reason) = (ReliefKind::Exempt, "Delibera 3".to_owned());
    town.children.get_mut(&1).unwrap().reliefs.push(Relief { id: 5, kind, first: date("2026-10-26"), last: None, reason });
    step(&mut town, "esenzione dal 26", false);
    insta::assert_snapshot!(steps.join("\n\n"));
}

#[test]
fn totals_tell_what_is_odd_and_what_waits() {
    let (town, mut rng) = one_child();
    let reckoning = reckon(&town.world(&mut rng), date(FIRST), date("2026-10-31")).unwrap();
    let code = |code: &str| Payer { fiscal_code: Some(code.into()), has_email: true, last_notice: Some(Cents(1_000)) };
    let totals = |payer: &Payer, threshold| Totals::of(&reckoning, |_| payer, Cents(threshold)).unwrap();
    let good = totals(&code("RSSMRA85T10A562S"), 500);
    assert_eq!((good.notices, good.issued, good.meals, good.carried()), (1, Cents(11_000), 22, Ok(Cents::ZERO)));
    assert_eq!(good.odd.len(), 1, "far from the last notice of 10 euros: {:?}", good.odd);
    for (payer, threshold, held) in [
        (code("RSSMRA85T10A562T"), 500, Held::BadFiscalCode),
        (Payer::default(), 500, Held::NoFiscalCode),
        (code("RSSMRA85T10A562S"), 11_001, Held::Small),
    ] {
        let totals = totals(&payer, threshold);
        assert_eq!((totals.notices, totals.held[&held]), (0, (1, Cents(11_000))));
        assert_eq!(totals.due, totals.carried().unwrap());
    }
    let mut nobody = town.clone();
    nobody.children.get_mut(&1).unwrap().payer = None;
    let reckoning = reckon(&nobody.world(&mut rng), date(FIRST), date("2026-10-31")).unwrap();
    assert_eq!(reckoning.no_payer, BTreeMap::from([(1, Cents(11_000))]));
    let mut untold = town;
    untold.tariffs[0].valid_from = date("2026-10-15");
    let reckoning = reckon(&untold.world(&mut rng), date(FIRST), date("2026-10-31")).unwrap();
    assert_eq!(reckoning.no_tariff, BTreeMap::from([(1, 10)]));
    assert_eq!(reckoning.accounts[&1].due, Cents(12 * 500));
    assert_eq!(DaySet::default().len(), 0);
}
