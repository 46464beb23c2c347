//! The demo's families: who lives with whom, who pays, who goes to which class.

use std::collections::HashSet;

use chrono::{NaiveDate, TimeDelta};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng, seq::IndexedRandom};

use super::{
    CHILDREN, CLASSES, DemoClass, INFANZIA, PRIMARIA, SECONDARIA, YearOutOfRange,
    calendar::{date, first_day},
    names::{BOYS, FATHERS, GIRLS, MOTHERS, NEWCOMERS, SURNAMES},
};
use crate::canteen::{
    fiscal_code::{FiscalCode, Sex},
    roster::{ChildRow, GuardianRow, Guardianship, NORMAL_DIET, fold},
};

/// Seed of the demo's choices. ChaCha12 is the same on every machine and in every version of `rand`.
const SEED: u64 = 0x766f_6365_6775_6964;
/// No cadastral code of a comune or country begins with Y: no such place of birth exists.
const PLACE: &str = "Y042";

/// Who answers for the children of a family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Household {
    /// Both parents; the first guardian pays for all.
    Couple,
    /// Parents living apart; each child's notices go to one of them.
    Separated,
    /// One parent.
    Single,
}

/// Name and home of a family before its children are placed.
struct Family {
    household: Household,
    surname: &'static str,
    mother: (&'static str, &'static str),
    father: &'static str,
    sons: &'static [&'static str],
    daughters: &'static [&'static str],
    newcomers: bool,
    diet: &'static str,
}

/// One of the fixed children who open the roster (and their siblings, who follow).
struct Fixed {
    family: usize,
    first_name: &'static str,
    sex: Sex,
    school: &'static str,
    class: &'static str,
    /// Month and day of birth.
    born: (u32, u32),
    diet: &'static str,
}

#[rustfmt::skip]
const FIXED_FAMILIES: [Family; 3] = [
    Family { household: Household::Couple, surname: "Rossi", mother: ("Conti", "Elena"), father: "Marco", sons: &[], daughters: &[], newcomers: false, diet: NORMAL_DIET },
    Family { household: Household::Separated, surname: "Bianchi", mother: ("De Luca", "Francesca"), father: "Paolo", sons: &[], daughters: &[], newcomers: false, diet: NORMAL_DIET },
    Family { household: Household::Single, surname: "Esposito", mother: ("Esposito", "Carmela"), father: "", sons: &[], daughters: &[], newcomers: false, diet: NORMAL_DIET },
];

#[rustfmt::skip]
const FIXED: [Fixed; 5] = [
    Fixed { family: 0, first_name: "Giulia", sex: Sex::Female, school: PRIMARIA, class: "3A", born: (3, 9), diet: NORMAL_DIET },
    Fixed { family: 1, first_name: "Matteo", sex: Sex::Male, school: SECONDARIA, class: "2A", born: (11, 21), diet: "senza glutine" },
    Fixed { family: 2, first_name: "Sofia", sex: Sex::Female, school: INFANZIA, class: "Farfalle", born: (6, 2), diet: NORMAL_DIET },
    Fixed { family: 0, first_name: "Andrea", sex: Sex::Male, school: SECONDARIA, class: "1A", born: (1, 30), diet: NORMAL_DIET },
    Fixed { family: 1, first_name: "Giada", sex: Sex::Female, school: PRIMARIA, class: "4A", born: (8, 17), diet: NORMAL_DIET },
];

/// What has been made so far.
struct Maker<F> {
    first_year: i32,
    rng: ChaCha12Rng,
    code_for: F,
    seats: [usize; CLASSES.len()],
    guardians: Vec<GuardianRow>,
    children: Vec<ChildRow>,
    names: HashSet<(String, String)>,
    fiscal_codes: HashSet<FiscalCode>,
    emails: HashSet<String>,
}

/// Guardians and children of the whole demo.
pub(super) fn families(
    first_year: i32,
    code_for: impl FnMut(usize) -> String,
) -> Result<(Vec<GuardianRow>, Vec<ChildRow>), YearOutOfRange> {
    let mut maker = Maker {
        first_year,
        rng: ChaCha12Rng::seed_from_u64(SEED),
        code_for,
        seats: CLASSES.map(|class| class.seats),
        guardians: Vec::new(),
        children: Vec::with_capacity(CHILDREN),
        names: HashSet::new(),
        fiscal_codes: HashSet::new(),
        emails: HashSet::new(),
    };
    maker.fixed()?;
    while maker.children.len() < CHILDREN {
        maker.family()?;
    }
    Ok((maker.guardians, maker.children))
}

impl<F: FnMut(usize) -> String> Maker<F> {
    fn fixed(&mut self) -> Result<(), YearOutOfRange> {
        let mut parents = Vec::new();
        for family in &FIXED_FAMILIES {
            parents.push(self.parents(family, true)?);
        }
        for child in &FIXED {
            let (Some(family), Some(parents)) = (FIXED_FAMILIES.get(child.family), parents.get(child.family)) else { continue };
            let found = CLASSES.iter().position(|class| class.school == child.school && class.name == child.class);
            let Some(class) = found else { continue };
            let born = date(self.first_year - CLASSES[class].age, child.born.0, child.born.1)?;
            // Of separated parents each pays for one child.
            let payer = usize::from(family.household == Household::Separated && child.sex == Sex::Female);
            let fiscal_code = self.fiscal_code(family.surname, child.first_name, born, child.sex);
            self.enrol(class, family.surname, child.first_name, fiscal_code, child.diet, guardianships(parents, payer));
        }
        Ok(())
    }

    fn family(&mut self) -> Result<(), YearOutOfRange> {
        let family = self.invent();
        let wanted = match self.rng.random_range(0..100) {
            0..58 => 1,
            58..91 => 2,
            _ => 3,
        };
        let parents = self.parents(&family, false)?;
        let mut years = Vec::new();
        for _ in 0..wanted {
            let Some((class, year)) = self.seat(&years) else { break };
            years.push(year);
            let sex = if self.rng.random_ratio(1, 2) { Sex::Male } else { Sex::Female };
            let first_name = self.first_name(&family, sex);
            let born = date(year, 1, 1)? + TimeDelta::days(self.rng.random_range(0..365));
            let known = if family.newcomers { 70 } else { 96 };
            let fiscal_code =
                if self.rng.random_ratio(known, 100) { self.fiscal_code(family.surname, first_name, born, sex) } else { None };
            let diet = self.diet(family.diet);
            let payer = if family.household == Household::Separated { self.rng.random_range(0..parents.len()) } else { 0 };
            self.enrol(class, family.surname, first_name, fiscal_code, diet, guardianships(&parents, payer));
        }
        Ok(())
    }

    fn invent(&mut self) -> Family {
        let household = match self.rng.random_range(0..100) {
            0..78 => Household::Couple,
            78..90 => Household::Separated,
            _ => Household::Single,
        };
        if self.rng.random_ratio(1, 7)
            && let Some(from) = NEWCOMERS.choose(&mut self.rng)
        {
            let no_pork = matches!(from.surname, "El Amrani" | "Diop" | "Rahman") && self.rng.random_ratio(3, 4);
            let diet = match from.surname {
                _ if no_pork => "senza maiale",
                "Singh" => "vegetariana",
                _ => NORMAL_DIET,
            };
            return Family {
                household,
                surname: from.surname,
                mother: from.mother,
                father: from.father,
                sons: &from.sons,
                daughters: &from.daughters,
                newcomers: true,
                diet,
            };
        }
        let diet = if self.rng.random_ratio(1, 30) { "vegetariana" } else { NORMAL_DIET };
        let surname = pick(&SURNAMES, &mut self.rng);
        let maiden = pick(&SURNAMES, &mut self.rng);
        Family {
            household,
            surname,
            mother: (maiden, pick(&MOTHERS, &mut self.rng)),
            father: pick(&FATHERS, &mut self.rng),
            sons: &BOYS,
            daughters: &GIRLS,
            newcomers: false,
            diet,
        }
    }

    /// Adds the adults of a family; the one who usually pays comes first.
    fn parents(&mut self, family: &Family, complete: bool) -> Result<Vec<usize>, YearOutOfRange> {
        let mother = (family.mother.0, family.mother.1, Sex::Female);
        let father = (family.surname, family.father, Sex::Male);
        let adults = match family.household {
            // A mother alone has given the child her surname.
            Household::Single => vec![(family.surname, family.mother.1, Sex::Female)],
            _ if complete || self.rng.random_ratio(1, 2) => vec![mother, father],
            _ => vec![father, mother],
        };
        let mut indices = Vec::new();
        for (last_name, first_name, sex) in adults {
            let age = self.rng.random_range(32..50);
            let born = date(self.first_year - age, 1, 1)? + TimeDelta::days(self.rng.random_range(0..365));
            let fiscal_code =
                if complete || self.rng.random_ratio(17, 20) { self.fiscal_code(last_name, first_name, born, sex) } else { None };
            let email = if complete || self.rng.random_ratio(23, 25) { Some(self.email(first_name, last_name)) } else { None };
            let phone = Some(format!("+39399{:07}", 100_100 + self.guardians.len()));
            indices.push(self.guardians.len());
            self.guardians.push(GuardianRow { first_name: first_name.into(), last_name: last_name.into(), fiscal_code, email, phone });
        }
        Ok(indices)
    }

    /// A free seat in a class where no sibling's birth year goes, and the year of birth it asks for.
    fn seat(&mut self, siblings: &[i32]) -> Option<(usize, i32)> {
        let mut free: Vec<(usize, i32)> = Vec::new();
        for (index, (class, seats)) in CLASSES.iter().zip(self.seats).enumerate() {
            let year = self.first_year - class.age - self.rng.random_range(0..class.ages);
            if !siblings.contains(&year) {
                // Once for each free seat: fuller classes are chosen less often.
                free.extend(std::iter::repeat_n((index, year), seats));
            }
        }
        free.choose(&mut self.rng).copied()
    }

    /// A first name that nobody of that surname has yet.
    fn first_name(&mut self, family: &Family, sex: Sex) -> &'static str {
        let names = if sex == Sex::Male { family.sons } else { family.daughters };
        let start = self.rng.random_range(0..names.len());
        let mut turn = names.iter().cycle().skip(start).take(names.len()).copied();
        let free = turn.find(|name| !self.names.contains(&(family.surname.to_owned(), (*name).to_owned())));
        free.unwrap_or(names[start])
    }

    fn fiscal_code(&mut self, last_name: &str, first_name: &str, born: NaiveDate, sex: Sex) -> Option<FiscalCode> {
        let code = FiscalCode::compose(last_name, first_name, born, sex, PLACE).ok()?;
        self.fiscal_codes.insert(code.clone()).then_some(code)
    }

    fn email(&mut self, first_name: &str, last_name: &str) -> String {
        let join = |name: &str| fold(name).replace(' ', "");
        let plain = format!("{}.{}", join(first_name), join(last_name));
        let mut address = format!("{plain}@famiglie.example");
        let mut number = 2;
        while !self.emails.insert(address.clone()) {
            address = format!("{plain}{number}@famiglie.example");
            number += 1;
        }
        address
    }

    fn diet(&mut self, family: &'static str) -> &'static str {
        if family != NORMAL_DIET {
            return family;
        }
        match self.rng.random_range(0..200) {
            0..5 => "senza glutine",
            5..12 => "senza lattosio",
            12..15 => "senza uova",
            15..17 => "senza frutta a guscio",
            17 => "senza pesce",
            18 => "senza kiwi e fragole",
            _ => NORMAL_DIET,
        }
    }

    fn enrol(
        &mut self,
        class: usize,
        last_name: &str,
        first_name: &str,
        fiscal_code: Option<FiscalCode>,
        diet: &str,
        guardians: Vec<Guardianship>,
    ) {
        let DemoClass { school, name, .. } = CLASSES[class];
        self.seats[class] = self.seats[class].saturating_sub(1);
        self.names.insert((last_name.to_owned(), first_name.to_owned()));
        let index = self.children.len();
        let (mut enrolled_from, mut enrolled_to) = (None, None);
        if index >= FIXED.len()
            && let Ok(start) = first_day(self.first_year)
        {
            match self.rng.random_range(0..100) {
                // Moved here in November, moved away at the end of January or so.
                0..3 => enrolled_from = Some(start + TimeDelta::days(56)),
                3..5 => enrolled_to = Some(start + TimeDelta::days(137)),
                _ => {}
            }
        }
        self.children.push(ChildRow {
            origin: None,
            external_id: Some(format!("{}", 1001 + index)),
            last_name: last_name.to_owned(),
            first_name: first_name.to_owned(),
            fiscal_code,
            school: school.to_owned(),
            class: name.to_owned(),
            diet: diet.to_owned(),
            code: Some((self.code_for)(index)),
            enrolled_from,
            enrolled_to,
            guardians,
        });
    }
}

fn guardianships(parents: &[usize], payer: usize) -> Vec<Guardianship> {
    parents.iter().enumerate().map(|(place, &guardian)| Guardianship { guardian, payer: place == payer }).collect()
}

/// One of a list that is never empty.
fn pick<const N: usize>(names: &[&'static str; N], rng: &mut ChaCha12Rng) -> &'static str {
    names[rng.random_range(0..N)]
}
