//! Due − billed: the lines of a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;

use super::{
    BasisPoints, Cents, DaySet, Month,
    family::{isee_on, shares_on, standing_on},
    money::Overflow,
    price::{Basis, Circumstances, Item},
    split::split,
    world::{Child, IssuedLine, Reason, World},
};

/// A line to be issued: the same unit price for the same reason on some days of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// Child.
    pub child: i64,
    /// What, where, why.
    pub key: LineKey,
    /// The days.
    pub days: DaySet,
}

/// What makes two days one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    /// Month.
    pub month: Month,
    /// Meal or flat share.
    pub item: Item,
    /// Why it is billed again; `None`: for the first time.
    pub reason: Option<Reason>,
    /// In the office's words, where the reason has some.
    pub note: String,
    /// Price of each day, or what is added to what was billed.
    pub unit: Cents,
    /// What the price follows from; `None` where nothing is due any more.
    pub basis: Option<Basis>,
    /// The payer's share.
    pub share: BasisPoints,
}

impl NewLine {
    /// How many days.
    pub fn quantity(&self) -> u32 {
        self.days.len()
    }

    /// Unit price times quantity, to the cent.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn total(&self) -> Result<Cents, Overflow> {
        self.key.unit.times(self.quantity())
    }
}

/// A payer's account at a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// All that is due by today's truth.
    pub due: Cents,
    /// All that has been billed.
    pub billed: Cents,
    /// The difference, line by line.
    pub lines: Vec<NewLine>,
}

impl Account {
    /// What is to be asked for now; negative: to the family's credit.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn open(&self) -> Result<Cents, Overflow> {
        self.due.minus(self.billed)
    }
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reckoning {
    /// By payer.
    pub accounts: BTreeMap<i64, Account>,
    /// Children for whom nobody pays, with what is due for them.
    pub no_payer: BTreeMap<i64, Cents>,
    /// Children for whom no tariff holds, with how many days: these days are left as they were billed.
    pub no_tariff: BTreeMap<i64, u32>,
}

/// Why there is no reckoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// An absurd amount.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The lines are not the difference: a fault of ours, and nothing is issued.
    #[error("i conti non tornano per l'adulto {0}: le righe non fanno la differenza fra dovuto ed emesso")]
    Unbalanced(i64),
}

/// What is due from one payer for one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    payer: i64,
    unit: Cents,
    basis: Basis,
    share: BasisPoints,
}

/// What has been billed to one payer for one day.
#[derive(Debug, Clone, Copy)]
struct Billed {
    payer: i64,
    sum: Cents,
    /// The share of the first line, and of the last one what it followed from.
    first_share: BasisPoints,
    last: (Option<Basis>, BasisPoints),
}

/// Reckons every child's days up to `last`, from `first` on: the days before it were billed by somebody else. The order of the children does
/// not matter.
///
/// # Errors
/// [`AccountError`]
pub fn reckon(world: &World, first: NaiveDate, last: NaiveDate) -> Result<Reckoning, AccountError> {
    let mut run = Run { world, families: families(world), first, last, out: Reckoning::default() };
    for child in &world.children {
        run.child(child)?;
    }
    let mut out = run.out;
    for (payer, account) in &mut out.accounts {
        account.lines.sort_by(|a, b| (a.child, &a.key).cmp(&(b.child, &b.key)));
        let lines = account.lines.iter().map(NewLine::total).collect::<Result<Vec<_>, _>>()?;
        if Cents::sum(lines)? != account.open()? {
            return Err(AccountError::Unbalanced(*payer));
        }
    }
    Ok(out)
}

/// Whose children each adult could be paying for, as places in `world.children`.
fn families(world: &World) -> HashMap<i64, Vec<usize>> {
    let mut families: HashMap<i64, Vec<usize>> = HashMap::new();
    for (place, child) in world.children.iter().enumerate() {
        let entered = child.shares.iter().flat_map(|entry| entry.shares.iter().map(|(payer, _)| *payer));
        let who: BTreeSet<i64> = entered.chain(child.payer).chain(child.lines.iter().map(|line| line.payer)).collect();
        for payer in who {
            families.entry(payer).or_default().push(place);
        }
    }
    families
}

/// Who pays for a child's day. What the office has entered goes first; else a day stays with whom it was first billed to, so that another
/// tick beside another name does not bill a year anew; a day not billed yet is for whom the roster names.
fn payers(child: &Child, day: NaiveDate) -> Payers<'_> {
    if let Some(entry) = shares_on(&child.shares, day) {
        return Payers::Entered(&entry.shares);
    }
    let month = Month::of(day);
    let first = child.lines.iter().filter(|line| line.month == month && line.days.contains(day)).min_by_key(|line| line.id);
    match first.map(|line| line.payer).or(child.payer) {
        Some(payer) => Payers::One([(payer, BasisPoints::WHOLE)]),
        None => Payers::Nobody,
    }
}

enum Payers<'a> {
    Entered(&'a [(i64, BasisPoints)]),
    One([(i64, BasisPoints); 1]),
    Nobody,
}

impl Payers<'_> {
    fn shares(&self) -> &[(i64, BasisPoints)] {
        match self {
            Self::Entered(shares) => shares,
            Self::One(one) => one,
            Self::Nobody => &[],
        }
    }

    /// Whose ISEE and whose other children count: who pays most; the lower row of two who pay alike.
    fn leading(&self) -> Option<i64> {
        self.shares().iter().min_by_key(|(payer, share)| (std::cmp::Reverse(*share), *payer)).map(|(payer, _)| *payer)
    }

    fn include(&self, payer: i64) -> bool {
        self.shares().iter().any(|(who, _)| *who == payer)
    }
}

struct Run<'a> {
    world: &'a World,
    families: HashMap<i64, Vec<usize>>,
    first: NaiveDate,
    last: NaiveDate,
    out: Reckoning,
}

impl<'a> Run<'a> {
    fn child(&mut self, child: &'a Child) -> Result<(), AccountError> {
        let within = |month: &Month| month.last() >= self.first && month.first() <= self.last;
        let months: BTreeSet<Month> =
            child.meals.iter().map(|m| m.month).chain(child.lines.iter().map(|line| line.month)).filter(within).collect();
        let mut lines: BTreeMap<(i64, LineKey), DaySet> = BTreeMap::new();
        for month in months {
            self.meals(child, month, &mut lines)?;
            self.flat(child, month, &mut lines)?;
        }
        for ((payer, key), days) in lines {
            self.out.accounts.entry(payer).or_default().lines.push(NewLine { child: child.id, key, days });
        }
        Ok(())
    }

    fn meals(&mut self, child: &'a Child, month: Month, lines: &mut BTreeMap<(i64, LineKey), DaySet>) -> Result<(), AccountError> {
        let issued: Vec<&IssuedLine> = child.lines.iter().filter(|line| line.month == month && line.item == Item::Meal).collect();
        let here = || child.meals.iter().filter(|m| m.month == month);
        let touched = here().map(|m| m.meals).chain(issued.iter().map(|line| line.days)).fold(DaySet::default(), DaySet::union);
        let span = self.first..=self.last;
        for day in touched.days_of(month).filter(|day| span.contains(day)) {
            let billed = billed_on(&issued, day)?;
            let school = here().find(|m| m.meals.contains(day)).map(|m| m.school);
            let due = if self.is_frozen(child, day, !billed.is_empty()) {
                None
            } else {
                match school {
                    None => Some(vec![]),
                    Some(school) => self.due(child, day, Item::Meal, school)?,
                }
            };
            self.settle(child, day, Item::Meal, due, &billed, lines)?;
        }
        Ok(())
    }

    /// The flat share of a month is due where the child was counted on one of its days, whatever stood: by what holds on the first of them.
    fn flat(&mut self, child: &'a Child, month: Month, lines: &mut BTreeMap<(i64, LineKey), DaySet>) -> Result<(), AccountError> {
        let issued: Vec<&IssuedLine> = child.lines.iter().filter(|line| line.month == month && line.item == Item::Flat).collect();
        let here = || child.meals.iter().filter(|m| m.month == month);
        let within = |day: &NaiveDate| (self.first..=self.last).contains(day);
        let counted = here().map(|m| m.counted).fold(DaySet::default(), DaySet::union).days_of(month).find(within);
        let billed_day = issued.iter().min_by_key(|line| line.id).and_then(|line| line.days.days_of(month).find(within));
        let Some(day) = counted.or(billed_day) else { return Ok(()) };
        let billed = billed_in(&issued)?;
        let school = counted.and_then(|day| here().find(|m| m.counted.contains(day))).map(|m| m.school);
        let due = if self.is_frozen(child, day, !billed.is_empty()) {
            None
        } else {
            match school {
                None => Some(vec![]),
                Some(school) => self.due(child, day, Item::Flat, school)?,
            }
        };
        self.settle(child, day, Item::Flat, due, &billed, lines)
    }

    /// Writes down what is due, what has been billed, and the difference. `due`: `None` leaves the day as it was billed.
    fn settle(
        &mut self,
        child: &Child,
        day: NaiveDate,
        item: Item,
        due: Option<Vec<Due>>,
        billed: &[Billed],
        lines: &mut BTreeMap<(i64, LineKey), DaySet>,
    ) -> Result<(), AccountError> {
        for b in billed {
            let account = self.out.accounts.entry(b.payer).or_default();
            account.billed = account.billed.plus(b.sum)?;
            if due.is_none() {
                account.due = account.due.plus(b.sum)?;
            }
        }
        let Some(due) = due else { return Ok(()) };
        for d in &due {
            let account = self.out.accounts.entry(d.payer).or_default();
            account.due = account.due.plus(d.unit)?;
        }
        let payers: BTreeSet<i64> = due.iter().map(|d| d.payer).chain(billed.iter().map(|b| b.payer)).collect();
        for payer in payers {
            let now = due.iter().find(|d| d.payer == payer);
            let before = billed.iter().find(|b| b.payer == payer);
            let unit = now.map_or(Cents::ZERO, |d| d.unit).minus(before.map_or(Cents::ZERO, |b| b.sum))?;
            if unit == Cents::ZERO {
                continue;
            }
            let (reason, note) = if is_first(now, billed) { (None, String::new()) } else { self.reason(child, day, &due, now, before) };
            let share = now.map(|d| d.share).or(before.map(|b| b.last.1)).unwrap_or(BasisPoints::WHOLE);
            let key = LineKey { month: Month::of(day), item, reason, note, unit, basis: now.map(|d| d.basis), share };
            lines.entry((payer, key)).or_default().insert(day);
        }
        Ok(())
    }

    /// Why a day that has been billed comes to something else now.
    fn reason(&self, child: &Child, day: NaiveDate, due: &[Due], now: Option<&Due>, before: Option<&Billed>) -> (Option<Reason>, String) {
        let changed = || {
            let change = child.changes.get(&day);
            let reason = change.map_or(Reason::Correction, |c| c.reason);
            (Some(reason), change.map(|c| c.note.clone()).unwrap_or_default())
        };
        let plain = |reason| (Some(reason), String::new());
        let (Some(now), Some(before)) = (now, before) else {
            // Somebody else pays; or nothing is due at all any more.
            return if due.is_empty() { changed() } else { plain(Reason::Share) };
        };
        let (Some(basis), share) = before.last else { return changed() };
        let prices = &self.world.prices;
        if basis.relief != now.basis.relief {
            return plain(Reason::Relief);
        }
        if basis.rate != now.basis.rate {
            let of = |id| prices.rate(id);
            return match (of(basis.rate), of(now.basis.rate)) {
                (Some((old, _)), Some((new, _))) if old.id != new.id => plain(Reason::Tariff),
                (Some((_, old)), Some((_, new))) if old.scope != new.scope || old.residents != new.residents => plain(Reason::Place),
                _ => plain(Reason::Isee),
            };
        }
        if basis.sibling != now.basis.sibling {
            return plain(Reason::Siblings);
        }
        if share == now.share { changed() } else { plain(Reason::Share) }
    }

    /// Parts of a day's price, also those that come to nothing; `None` where no tariff holds for the day.
    fn due(&mut self, child: &'a Child, day: NaiveDate, item: Item, school: i64) -> Result<Option<Vec<Due>>, AccountError> {
        let payers = payers(child, day);
        let leading = payers.leading();
        let resident = standing_on(&child.residence, day).unwrap_or(true);
        let isee = leading.and_then(|payer| self.world.isee.get(&payer)).and_then(|all| isee_on(all, day)).map(|isee| isee.value);
        let rank = leading.map_or(1, |payer| self.rank(child, payer, day));
        let order = self.world.orders.get(&school).copied();
        let of = Circumstances { school, order, resident, isee, rank, reliefs: &child.reliefs };
        let prices = &self.world.prices;
        let Some(basis) = prices.basis(day, item, &of) else {
            *self.out.no_tariff.entry(child.id).or_default() += u32::from(item == Item::Meal);
            return Ok(None);
        };
        let cents = prices.cents(basis)?;
        if leading.is_none() {
            let owed = self.out.no_payer.entry(child.id).or_default();
            *owed = owed.plus(cents)?;
            return Ok(Some(vec![]));
        }
        let shares = payers.shares();
        let parts = split(cents, shares).into_iter().zip(shares);
        Ok(Some(parts.map(|((payer, unit), (_, share))| Due { payer, unit, basis, share: *share }).collect()))
    }

    /// Which of the payer's children it is on that day: by birth, those whose day is not known last, then by row.
    fn rank(&self, child: &Child, payer: i64, day: NaiveDate) -> u8 {
        let of = |c: &Child| (c.born.is_none(), c.born, c.id);
        let elder = self.siblings(payer, day).filter(|other| other.id != child.id && of(other) < of(child)).count();
        u8::try_from(elder + 1).unwrap_or(u8::MAX)
    }

    fn siblings(&self, payer: i64, day: NaiveDate) -> impl Iterator<Item = &'a Child> {
        let places = self.families.get(&payer).map(Vec::as_slice).unwrap_or_default();
        let world = self.world;
        places.iter().filter_map(|place| world.children.get(*place)).filter(move |c| c.is_enrolled(day) && payers(c, day).include(payer))
    }

    /// Days that were billed stay as they are where the child, or one of the family's, has been forgotten: what the price followed from is not
    /// known any more.
    fn is_frozen(&self, child: &Child, day: NaiveDate, is_billed: bool) -> bool {
        let forgotten = || payers(child, day).leading().is_some_and(|payer| self.siblings(payer, day).any(|other| other.forgotten));
        is_billed && (child.forgotten || forgotten())
    }
}

/// Is this the first that anybody hears of it? So it is where nothing was billed, and for who shares a day of which only the others' shares
/// were, at first: theirs went out while this one's waited.
fn is_first(now: Option<&Due>, billed: &[Billed]) -> bool {
    let shares = || billed.iter().map(|b| u32::from(b.first_share.get())).sum::<u32>();
    let fits = |due: &Due| u32::from(due.share.get()) + shares() <= u32::from(BasisPoints::WHOLE.get());
    billed.is_empty() || now.is_some_and(|due| billed.iter().all(|b| b.payer != due.payer) && fits(due))
}

/// What has been billed for a day, by payer.
fn billed_on(lines: &[&IssuedLine], day: NaiveDate) -> Result<Vec<Billed>, Overflow> {
    billed(lines.iter().filter(|line| line.days.contains(day)).map(|line| (*line, line.unit)))
}

/// What has been billed as flat share of the month that these lines are of.
fn billed_in(lines: &[&IssuedLine]) -> Result<Vec<Billed>, Overflow> {
    let mut all = Vec::with_capacity(lines.len());
    for line in lines {
        all.push((*line, line.unit.times(line.days.len())?));
    }
    billed(all.into_iter())
}

fn billed<'a>(lines: impl Iterator<Item = (&'a IssuedLine, Cents)>) -> Result<Vec<Billed>, Overflow> {
    // Beside each the rows of its first and its last line.
    let mut found: Vec<(i64, i64, Billed)> = Vec::new();
    for (line, amount) in lines {
        let last = (line.basis, line.share);
        match found.iter_mut().find(|(.., b)| b.payer == line.payer) {
            None => found.push((line.id, line.id, Billed { payer: line.payer, sum: amount, first_share: line.share, last })),
            Some((earliest, latest, b)) => {
                b.sum = b.sum.plus(amount)?;
                if line.id < *earliest {
                    (*earliest, b.first_share) = (line.id, line.share);
                }
                if line.id > *latest {
                    (*latest, b.last) = (line.id, last);
                }
            }
        }
    }
    Ok(found.into_iter().map(|(.., b)| b).collect())
}
