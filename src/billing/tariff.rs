//! Tariffs: what a meal costs, and the month's flat share; versioned by date.

use chrono::NaiveDate;

use super::{BasisPoints, Cents};

/// Order of school ("ordine di scuola").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchoolOrder {
    /// Scuola dell'infanzia.
    Nursery,
    /// Scuola primaria.
    Primary,
    /// Scuola secondaria di primo grado.
    Middle,
}

impl SchoolOrder {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nursery, Self::Primary, Self::Middle];

    /// Its word in files and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nursery => "infanzia",
            Self::Primary => "primaria",
            Self::Middle => "secondaria",
        }
    }

    /// What its word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.word() == word)
    }
}

/// Which schools a rate is for; a narrower one goes before a wider one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Every school.
    All,
    /// Every school of an order.
    Order(SchoolOrder),
    /// One school; the row's number.
    School(i64),
}

/// One line of a tariff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Row.
    pub id: i64,
    /// For which schools.
    pub scope: Scope,
    /// For residents, for others, or for both.
    pub residents: Option<bool>,
    /// The highest ISEE of this band; `None`: without a limit, and where there is no ISEE.
    pub isee_up_to: Option<Cents>,
    /// What a meal costs.
    pub meal: Cents,
    /// The month's flat share; nothing where there is none.
    pub monthly: Cents,
}

/// A tariff, from a day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// Row.
    pub id: i64,
    /// The first day that it holds for.
    pub valid_from: NaiveDate,
    /// Its lines.
    pub rates: Vec<Rate>,
    /// Reductions of the second child, the third and so on; the last one holds for those after it too.
    pub siblings: Vec<(u8, BasisPoints)>,
}

/// What is wrong with a tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// There is no line.
    #[error("la tariffa non ha nessuna riga")]
    Empty,
    /// More lines than any comune has.
    #[error("la tariffa ha più di {MOST_RATES} righe")]
    TooLong,
    /// A negative or absurd amount.
    #[error("gli importi vanno da 0,00 € a 1.000,00 €, i limiti ISEE da 0,01 € a 10.000.000,00 €")]
    Amount,
    /// Two lines of the same schools, residents and band.
    #[error("due righe valgono per gli stessi bambini")]
    Twice,
    /// The highest band has a limit: nobody says what families above it pay.
    #[error("per ogni scuola e residenza serve una riga senza limite ISEE: vale anche per chi non presenta l'ISEE")]
    NoHighestBand,
    /// A reduction of the first child, or two of the same.
    #[error("le riduzioni per fratelli cominciano dal secondo figlio, una per figlio")]
    Siblings,
}

/// The most lines of one tariff.
pub const MOST_RATES: usize = 1_000;
/// The most that a meal, or a month's flat share, may cost.
const MOST_CENTS: Cents = Cents(100_000);
/// The highest limit of a band.
const MOST_ISEE: Cents = Cents(1_000_000_000);

impl Tariff {
    /// Can it be used?
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TariffError> {
        if self.rates.is_empty() {
            return Err(TariffError::Empty);
        }
        if self.rates.len() > MOST_RATES {
            return Err(TariffError::TooLong);
        }
        let fits = |amount: Cents, most: Cents| (Cents::ZERO..=most).contains(&amount);
        let limit_fits = |limit: Option<Cents>| limit.is_none_or(|limit| limit > Cents::ZERO && limit <= MOST_ISEE);
        if !self.rates.iter().all(|r| fits(r.meal, MOST_CENTS) && fits(r.monthly, MOST_CENTS) && limit_fits(r.isee_up_to)) {
            return Err(TariffError::Amount);
        }
        for (place, rate) in self.rates.iter().enumerate() {
            let same = |other: &&Rate| other.scope == rate.scope && other.residents == rate.residents;
            if self.rates.iter().take(place).filter(same).any(|other| other.isee_up_to == rate.isee_up_to) {
                return Err(TariffError::Twice);
            }
            if !self.rates.iter().filter(same).any(|other| other.isee_up_to.is_none()) {
                return Err(TariffError::NoHighestBand);
            }
        }
        let ranks = self.siblings.iter().map(|(rank, _)| *rank);
        if ranks.clone().any(|rank| rank < 2) || ranks.clone().enumerate().any(|(n, rank)| ranks.clone().take(n).any(|other| other == rank))
        {
            return Err(TariffError::Siblings);
        }
        Ok(())
    }

    /// The line for a child: of the narrowest scope, then for its own residence rather than for both, then of the lowest band that the
    /// ISEE is within. Without an ISEE: of the highest band. The order of the lines does not matter.
    pub fn rate(&self, school: i64, order: Option<SchoolOrder>, resident: bool, isee: Option<Cents>) -> Option<&Rate> {
        let applies = |rate: &&Rate| {
            let here = match rate.scope {
                Scope::All => true,
                Scope::Order(of) => Some(of) == order,
                Scope::School(of) => of == school,
            };
            let band = rate.isee_up_to.is_none_or(|limit| isee.is_some_and(|isee| isee <= limit));
            here && rate.residents.is_none_or(|of| of == resident) && band
        };
        let precedence = |rate: &&Rate| {
            let limit = rate.isee_up_to.map_or(i64::MIN, |limit| -limit.0);
            (rate.scope, rate.residents.is_some(), limit)
        };
        self.rates.iter().filter(applies).max_by_key(precedence)
    }

    /// The lines of the same schools and residents, the lowest band first.
    pub fn bands(&self, of: &Rate) -> Vec<&Rate> {
        let mut bands: Vec<_> = self.rates.iter().filter(|r| r.scope == of.scope && r.residents == of.residents).collect();
        bands.sort_by_key(|rate| rate.isee_up_to.map_or(i64::MAX, |limit| limit.0));
        bands
    }

    /// The reduction of the family's `rank`th child, and from which child on it holds; none for the first.
    pub fn reduction(&self, rank: u8) -> Option<(u8, BasisPoints)> {
        self.siblings.iter().filter(|(from, _)| *from <= rank).max_by_key(|(from, _)| *from).copied()
    }
}

/// Every tariff of an ente.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tariffs(Vec<Tariff>);

impl Tariffs {
    /// In whichever order.
    pub fn new(mut tariffs: Vec<Tariff>) -> Self {
        tariffs.sort_by_key(|tariff| (tariff.valid_from, tariff.id));
        Self(tariffs)
    }

    /// The tariff of a day: the latest that holds by then; of two that begin on the same day the one that was entered last.
    pub fn on(&self, day: NaiveDate) -> Option<&Tariff> {
        let after = self.0.partition_point(|tariff| tariff.valid_from <= day);
        self.0.get(after.checked_sub(1)?)
    }

    /// All of them, the earliest first.
    pub fn all(&self) -> &[Tariff] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(id: i64, scope: Scope, residents: Option<bool>, up_to: Option<i64>, meal: i64) -> Rate {
        Rate { id, scope, residents, isee_up_to: up_to.map(Cents), meal: Cents(meal), monthly: Cents::ZERO }
    }

    fn tariff(rates: Vec<Rate>) -> Tariff {
        let siblings = vec![(2, BasisPoints::try_from(2_000).unwrap()), (3, BasisPoints::try_from(5_000).unwrap())];
        Tariff { id: 1, valid_from: NaiveDate::from_ymd_opt(2026, 9, 1).unwrap(), rates, siblings }
    }

    fn usual() -> Tariff {
        tariff(vec![
            rate(1, Scope::All, Some(false), None, 600),
            rate(2, Scope::All, Some(true), None, 500),
            rate(3, Scope::All, Some(true), Some(1_500_000), 420),
            rate(4, Scope::All, Some(true), Some(1_000_000), 320),
            rate(5, Scope::Order(SchoolOrder::Nursery), None, None, 400),
            rate(6, Scope::School(7), Some(true), None, 100),
        ])
    }

    #[test]
    fn the_narrowest_line_is_taken_and_the_lowest_band_that_fits() {
        let tariff = usual();
        let found = |school, order, resident, isee: Option<i64>| tariff.rate(school, order, resident, isee.map(Cents)).map(|r| r.id);
        let primary = Some(SchoolOrder::Primary);
        assert_eq!(found(1, primary, true, None), Some(2), "no ISEE: the highest band");
        assert_eq!(found(1, primary, true, Some(1_000_000)), Some(4), "the limit is within");
        assert_eq!(found(1, primary, true, Some(1_000_001)), Some(3));
        assert_eq!(found(1, primary, true, Some(1_500_001)), Some(2));
        assert_eq!(found(1, primary, false, Some(0)), Some(1));
        assert_eq!(found(1, Some(SchoolOrder::Nursery), false, Some(0)), Some(5), "the order of school before every school");
        assert_eq!(found(7, primary, true, Some(0)), Some(6), "a school before all");
        assert_eq!(found(7, primary, false, Some(0)), Some(1));
        let mut turned = tariff.clone();
        turned.rates.reverse();
        assert_eq!(turned.rate(1, primary, true, Some(Cents(1_200_000))).map(|r| r.id), Some(3), "whatever the lines' order");
        assert_eq!(tariff.check(), Ok(()));
    }

    #[test]
    fn reductions_hold_for_the_children_after_too() {
        let tariff = usual();
        let reduction = |rank| tariff.reduction(rank).map(|(from, by)| (from, by.get()));
        assert_eq!([1, 2, 3, 4].map(reduction), [None, Some((2, 2_000)), Some((3, 5_000)), Some((3, 5_000))]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let all = |up_to, meal| rate(1, Scope::All, None, up_to, meal);
        for (rates, error) in [
            (vec![], TariffError::Empty),
            (vec![all(None, -1)], TariffError::Amount),
            (vec![all(None, 100_001)], TariffError::Amount),
            (vec![all(Some(0), 1), all(None, 1)], TariffError::Amount),
            (vec![all(None, 500), all(None, 400)], TariffError::Twice),
            (vec![all(Some(1_000_000), 500)], TariffError::NoHighestBand),
            (vec![all(None, 1); MOST_RATES + 1], TariffError::TooLong),
        ] {
            assert_eq!(tariff(rates).check(), Err(error));
        }
        let mut first_child = usual();
        first_child.siblings[0].0 = 1;
        assert_eq!(first_child.check(), Err(TariffError::Siblings));
        first_child.siblings[0].0 = 3;
        assert_eq!(first_child.check(), Err(TariffError::Siblings));
    }

    #[test]
    fn the_tariff_of_a_day() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let of = |id, from: &str| Tariff { id, valid_from: day(from), ..usual() };
        let tariffs = Tariffs::new(vec![of(3, "2027-01-01"), of(1, "2026-09-01"), of(2, "2027-01-01")]);
        let on = |text: &str| tariffs.on(day(text)).map(|t| t.id);
        assert_eq!([on("2026-08-31"), on("2026-09-01"), on("2026-12-31"), on("2027-01-01")], [None, Some(1), Some(1), Some(3)]);
    }
}
