//! A price, and why it is that.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::{
    Cents,
    family::{Relief, ReliefKind},
    money::Overflow,
    tariff::{Rate, SchoolOrder, Tariff, Tariffs},
    words,
};

/// What is priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// A meal.
    Meal,
    /// A month's flat share.
    Flat,
}

impl Item {
    /// Its word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Meal => "meal",
            Self::Flat => "flat",
        }
    }
}

/// What a price follows from: the same basis is the same price for ever, since lines of tariffs and reliefs never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Basis {
    /// What.
    pub item: Item,
    /// The tariff's line.
    pub rate: i64,
    /// From which child on the siblings' reduction is that was applied; 1 where there was none.
    pub sibling: u8,
    /// The relief that was applied.
    pub relief: Option<i64>,
}

/// What is known of a child on a day.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// School's row.
    pub school: i64,
    /// Its order.
    pub order: Option<SchoolOrder>,
    /// Does the child live in the comune?
    pub resident: bool,
    /// The family's ISEE.
    pub isee: Option<Cents>,
    /// Which child of the family's it is: 1 is the eldest.
    pub rank: u8,
    /// The child's reliefs, also those of other days.
    pub reliefs: &'a [Relief],
}

/// A price with what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The price.
    pub cents: Cents,
    /// Why, step by step, in plain Italian.
    pub steps: Vec<String>,
}

/// Tariffs and reliefs, and the prices that follow from them.
#[derive(Debug, Default)]
pub struct PriceBook {
    tariffs: Tariffs,
    /// Each tariff's line: the tariff's place in the list and the line's in the tariff.
    rates: HashMap<i64, (usize, usize)>,
    reliefs: HashMap<i64, Relief>,
}

impl PriceBook {
    /// A book of these.
    pub fn new(tariffs: Tariffs, reliefs: impl IntoIterator<Item = Relief>) -> Self {
        let lines = tariffs.all().iter().enumerate().flat_map(|(n, t)| t.rates.iter().enumerate().map(move |(m, r)| (r.id, (n, m))));
        let rates = lines.collect();
        Self { tariffs, rates, reliefs: reliefs.into_iter().map(|relief| (relief.id, relief)).collect() }
    }

    /// A tariff's line.
    pub fn rate(&self, id: i64) -> Option<(&Tariff, &Rate)> {
        let (tariff, rate) = self.rates.get(&id)?;
        let tariff = self.tariffs.all().get(*tariff)?;
        Some((tariff, tariff.rates.get(*rate)?))
    }

    /// A relief.
    pub fn relief(&self, id: i64) -> Option<&Relief> {
        self.reliefs.get(&id)
    }

    /// What the price of `item` follows from on `day`; `None` where no tariff holds for it. Of several reliefs the best one for the family
    /// is taken.
    pub fn basis(&self, day: NaiveDate, item: Item, of: &Circumstances<'_>) -> Option<Basis> {
        let tariff = self.tariffs.on(day)?;
        let rate = tariff.rate(of.school, of.order, of.resident, of.isee)?;
        let sibling = tariff.reduction(of.rank).map_or(1, |(from, _)| from);
        let plain = Basis { item, rate: rate.id, sibling, relief: None };
        let eased = of.reliefs.iter().filter(|relief| relief.holds(day)).map(|relief| Basis { relief: Some(relief.id), ..plain });
        let best = eased.filter_map(|basis| Some((self.cents(basis).ok()?, basis))).min_by_key(|(cents, basis)| (*cents, basis.relief));
        match best {
            // One that changes nothing is not named. A fixed price holds even where the tariff is lower: it was given for a reason.
            Some((cents, basis)) if cents < self.cents(plain).ok()? || self.is_fixed(basis) => Some(basis),
            _ => Some(plain),
        }
    }

    fn is_fixed(&self, basis: Basis) -> bool {
        let relief = basis.relief.and_then(|id| self.relief(id));
        basis.item == Item::Meal && relief.is_some_and(|relief| matches!(relief.kind, ReliefKind::FixedPrice(_)))
    }

    /// The price alone.
    ///
    /// # Errors
    /// [`Overflow`]; also for a basis of another book.
    pub fn cents(&self, basis: Basis) -> Result<Cents, Overflow> {
        let (tariff, rate) = self.rate(basis.rate).ok_or(Overflow)?;
        let full = match basis.item {
            Item::Meal => rate.meal,
            Item::Flat => rate.monthly,
        };
        let sibling = tariff.reduction(basis.sibling).map(|(_, by)| by);
        let relief = match basis.relief {
            None => None,
            Some(id) => Some(self.relief(id).ok_or(Overflow)?.kind),
        };
        match relief {
            Some(ReliefKind::Exempt) => Ok(Cents::ZERO),
            Some(ReliefKind::FixedPrice(price)) if basis.item == Item::Meal => Ok(price),
            Some(ReliefKind::Percentage(by)) => full.reduced_by(&sibling.into_iter().chain([by]).collect::<Vec<_>>()),
            None | Some(ReliefKind::FixedPrice(_)) => full.reduced_by(sibling.as_slice()),
        }
    }

    /// The price with its steps.
    ///
    /// # Errors
    /// [`Overflow`]; also for a basis of another book.
    pub fn price(&self, basis: Basis) -> Result<Price, Overflow> {
        let cents = self.cents(basis)?;
        let (tariff, rate) = self.rate(basis.rate).ok_or(Overflow)?;
        let mut steps = vec![words::rate_step(tariff, rate, basis.item)];
        if let Some((from, by)) = tariff.reduction(basis.sibling) {
            let after = self.cents(Basis { relief: None, ..basis })?;
            steps.push(words::sibling_step(from, by, after));
        }
        if let Some(relief) = basis.relief.and_then(|id| self.relief(id)) {
            steps.push(words::relief_step(relief, basis.item, cents));
        }
        Ok(Price { cents, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tariff::Scope, *};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn book(reliefs: Vec<Relief>) -> PriceBook {
        let rate = |id, residents, up_to: Option<i64>, meal, monthly| Rate {
            id,
            scope: Scope::All,
            residents,
            isee_up_to: up_to.map(Cents),
            meal: Cents(meal),
            monthly: Cents(monthly),
        };
        let tariff = Tariff {
            id: 1,
            valid_from: day("2026-09-01"),
            rates: vec![
                rate(1, Some(true), Some(600_000), 200, 0),
                rate(2, Some(true), Some(1_000_000), 320, 1_000),
                rate(3, Some(true), None, 505, 1_500),
                rate(4, Some(false), None, 600, 2_000),
            ],
            siblings: vec![(2, 2_000.try_into().unwrap()), (3, 5_000.try_into().unwrap())],
        };
        PriceBook::new(Tariffs::new(vec![tariff]), reliefs)
    }

    fn relief(id: i64, kind: ReliefKind) -> Relief {
        Relief { id, kind, first: day("2026-10-01"), last: Some(day("2026-10-31")), reason: "Delibera 12/2026".into() }
    }

    fn child(isee: Option<i64>, rank: u8, resident: bool, reliefs: &[Relief]) -> Circumstances<'_> {
        Circumstances { school: 1, order: Some(SchoolOrder::Primary), resident, isee: isee.map(Cents), rank, reliefs }
    }

    fn told(book: &PriceBook, on: &str, item: Item, of: &Circumstances<'_>) -> String {
        let basis = book.basis(day(on), item, of).unwrap();
        let price = book.price(basis).unwrap();
        assert_eq!(book.cents(basis), Ok(price.cents));
        format!("{} = {}", price.steps.join(" | "), price.cents)
    }

    #[test]
    fn each_price_says_why() {
        let kinds = [
            ReliefKind::Exempt,
            ReliefKind::Percentage(3_333.try_into().unwrap()),
            ReliefKind::FixedPrice(Cents(150)),
            ReliefKind::FixedPrice(Cents(900)),
        ];
        let none: &[Relief] = &[];
        let mut lines = Vec::new();
        let plain = book(vec![]);
        for (isee, rank, resident) in
            [(Some(600_000), 1, true), (Some(900_000), 2, true), (None, 3, true), (Some(1_200_000), 4, true), (Some(0), 1, false)]
        {
            lines.push(told(&plain, "2026-10-12", Item::Meal, &child(isee, rank, resident, none)));
        }
        lines.push(told(&plain, "2026-10-12", Item::Flat, &child(Some(900_000), 2, true, none)));
        for kind in kinds {
            let given = [relief(7, kind)];
            let book = book(given.to_vec());
            for item in [Item::Meal, Item::Flat] {
                lines.push(told(&book, "2026-10-12", item, &child(Some(900_000), 2, true, &given)));
            }
            assert_eq!(
                told(&book, "2026-11-02", Item::Meal, &child(Some(900_000), 2, true, &given)),
                told(&plain, "2026-11-02", Item::Meal, &child(Some(900_000), 2, true, none)),
                "a relief that has ended"
            );
        }
        insta::assert_snapshot!(lines.join("\n"));
        assert_eq!(plain.basis(day("2026-08-31"), Item::Meal, &child(None, 1, true, none)), None, "before the first tariff");
    }

    #[test]
    fn of_several_reliefs_the_best_counts_whatever_their_order() {
        let percentage = |id, by: i64| relief(id, ReliefKind::Percentage(by.try_into().unwrap()));
        let mut given = vec![percentage(9, 5_000), percentage(4, 2_500), percentage(8, 5_000), percentage(3, 0)];
        let book = book(given.clone());
        for _ in 0..given.len() {
            given.rotate_left(1);
            let child = Circumstances { school: 1, order: None, resident: true, isee: None, rank: 1, reliefs: &given };
            assert_eq!(book.basis(day("2026-10-12"), Item::Meal, &child).and_then(|b| b.relief), Some(8));
        }
        let nothing = [percentage(3, 0)];
        let child = Circumstances { school: 1, order: None, resident: true, isee: None, rank: 1, reliefs: &nothing };
        assert_eq!(book.basis(day("2026-10-12"), Item::Meal, &child).and_then(|b| b.relief), None);
    }
}
