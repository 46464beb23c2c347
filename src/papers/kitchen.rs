//! The kitchen's sheet of a day: what is to be cooked, and for whom it was called off.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::Serialize;

use super::{
    Heading, PaperError,
    press::{Template, pdf as set},
};
use crate::canteen::words::{date_in_words, day_in_words, time_in_words};

/// A sheet.
#[derive(Debug, Clone, Default)]
pub struct KitchenSheet {
    /// The ente's heading.
    pub heading: Heading,
    /// The day.
    pub day: NaiveDate,
    /// Local date and time at which it was counted.
    pub counted_at: NaiveDateTime,
    /// Is it the count of the cut-off, that nothing changes any more?
    pub is_final: bool,
    /// The schools, in the order of the sheet.
    pub schools: Vec<School>,
    /// What else the kitchen should know, a line each (closures, changes after the cut-off).
    pub notes: Vec<String>,
}

/// A school's part.
#[derive(Debug, Clone, Default)]
pub struct School {
    /// Name.
    pub name: String,
    /// Classes that eat, in the order of the sheet.
    pub classes: Vec<Class>,
}

/// A class's line.
#[derive(Debug, Clone, Default)]
pub struct Class {
    /// Name.
    pub name: String,
    /// Meals by diet, white ones left out; the normal diet first.
    pub diets: Vec<(String, u32)>,
    /// White meals.
    pub white: u32,
    /// Meals called off for this day.
    pub cancelled: u32,
    /// Children whose service is suspended.
    pub suspended: u32,
}

impl Class {
    /// Meals to be cooked.
    pub fn meals(&self) -> u32 {
        self.white + self.diets.iter().map(|(_, n)| n).sum::<u32>()
    }
}

#[derive(Serialize)]
struct Values<'a> {
    heading: &'a Heading,
    day: String,
    date: String,
    counted_at: String,
    is_final: bool,
    total: u32,
    schools: Vec<SchoolValue<'a>>,
    summary: Vec<Row<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct SchoolValue<'a> {
    name: &'a str,
    /// The columns: diets that someone in the school has.
    diets: Vec<&'a str>,
    rows: Vec<Row<'a>>,
    total: Row<'a>,
}

/// A line of numbers.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    diets: Vec<u32>,
    white: u32,
    meals: u32,
    cancelled: u32,
    suspended: u32,
}

impl<'a> SchoolValue<'a> {
    fn of(school: &'a School) -> Self {
        let mut diets: Vec<&str> = Vec::new();
        for (diet, _) in school.classes.iter().flat_map(|class| &class.diets) {
            if !diets.contains(&diet.as_str()) {
                diets.push(diet);
            }
        }
        let rows: Vec<Row<'a>> = school.classes.iter().map(|class| row(&class.name, std::slice::from_ref(class), &diets)).collect();
        let total = row("Totale", &school.classes, &diets);
        Self { name: &school.name, rows, total, diets }
    }
}

fn row<'a>(name: &'a str, classes: &[Class], diets: &[&str]) -> Row<'a> {
    let sum = |of: &dyn Fn(&Class) -> u32| classes.iter().map(of).sum::<u32>();
    let of_diet = |diet: &str| sum(&|class| class.diets.iter().filter(|(d, _)| d == diet).map(|(_, n)| n).sum());
    Row {
        name,
        diets: diets.iter().map(|diet| of_diet(diet)).collect(),
        white: sum(&|class| class.white),
        meals: sum(&Class::meals),
        cancelled: sum(&|class| class.cancelled),
        suspended: sum(&|class| class.suspended),
    }
}

/// Sets the sheet; `at` becomes the document's date of creation.
pub fn pdf(sheet: &KitchenSheet, at: DateTime<Utc>) -> Result<Vec<u8>, PaperError> {
    let summary: Vec<Row<'_>> = sheet.schools.iter().map(|school| row(&school.name, &school.classes, &[])).collect();
    let values = Values {
        heading: &sheet.heading,
        day: day_in_words(sheet.day),
        date: date_in_words(sheet.day),
        counted_at: format!("{}, ore {}", day_in_words(sheet.counted_at.date()), time_in_words(sheet.counted_at.time())),
        is_final: sheet.is_final,
        total: summary.iter().map(|row| row.meals).sum(),
        schools: sheet.schools.iter().map(SchoolValue::of).collect(),
        summary,
        notes: &sheet.notes,
    };
    set(Template::KITCHEN, &values, sheet.heading.logo.as_ref(), &format!("cucina-{}", sheet.day), at)
}
