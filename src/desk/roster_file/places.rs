//! Schools and classes: those of the files and those the database knows.

use std::collections::HashMap;

use chrono::{Weekday, WeekdaySet};

use super::{
    Known, Report, cells,
    columns::{Columns, Field},
    grid::Grid,
    row::Row,
};
use crate::canteen::roster::{ClassRow, Origin, SchoolRow, fold};

/// Schools and classes that rows may name.
pub(super) struct Places {
    /// Folded code or name to code.
    schools: HashMap<String, String>,
    /// School code and folded class name to the class.
    classes: HashMap<(String, String), Class>,
    school_rows: Vec<SchoolRow>,
    class_rows: Vec<ClassRow>,
    /// No school is known and no table of schools is there: naming one makes it.
    implied: bool,
}

/// A class that is known or was read.
#[derive(Clone)]
struct Class {
    name: String,
    weekdays: WeekdaySet,
    /// Where it was read in this import.
    origin: Option<Origin>,
}

impl Places {
    pub(super) fn new(known: &Known<'_>) -> Self {
        let mut schools = HashMap::new();
        for school in known.schools {
            schools.insert(fold(&school.name), school.code.clone());
        }
        for school in known.schools {
            schools.insert(fold(&school.code), school.code.clone());
        }
        let class = |class: &ClassRow| {
            let key = (class.school.clone(), fold(&class.name));
            (key, Class { name: class.name.clone(), weekdays: class.weekdays, origin: None })
        };
        Self {
            schools,
            classes: known.classes.iter().map(class).collect(),
            school_rows: Vec::new(),
            class_rows: Vec::new(),
            implied: known.schools.is_empty(),
        }
    }

    /// The schools and classes that this import brings.
    pub(super) fn into_rows(self) -> (Vec<SchoolRow>, Vec<ClassRow>) {
        (self.school_rows, self.class_rows)
    }

    /// Reads the tables of schools. A school that is known may come again, with a new name.
    pub(super) fn read_schools<'a>(&mut self, tables: impl Iterator<Item = (&'a Grid, &'a Columns)>, report: &mut Report) {
        let mut read: HashMap<String, Origin> = HashMap::new();
        for (grid, columns) in tables {
            self.implied = false;
            for row in &grid.rows {
                let mut row = Row::new(grid, columns, row);
                let code = row.required(Field::SchoolCode, report);
                let name = row.required(Field::SchoolName, report);
                if !row.is_sound() {
                    continue;
                }
                for (field, text) in [(Field::SchoolCode, &code), (Field::SchoolName, &name)] {
                    if let Some(other) = read.get(&fold(text)) {
                        let reason = format!("è già della scuola di «{other}»");
                        row.problem(Some(field), reason, report);
                    }
                }
                if !row.is_sound() {
                    continue;
                }
                // A known school keeps its code as the database writes it.
                let code = self.schools.get(&fold(&code)).cloned().unwrap_or(code);
                for text in [&code, &name] {
                    read.insert(fold(text), row.origin.clone());
                    self.schools.insert(fold(text), code.clone());
                }
                self.school_rows.push(SchoolRow { code, name });
            }
        }
    }

    /// Reads the tables of classes. A class that is known may come again, with other days.
    pub(super) fn read_classes<'a>(&mut self, tables: impl Iterator<Item = (&'a Grid, &'a Columns)>, report: &mut Report) {
        for (grid, columns) in tables {
            for row in &grid.rows {
                let mut row = Row::new(grid, columns, row);
                let school = self.school(&mut row, report);
                let name = row.required(Field::Class, report);
                let weekdays = weekdays(&mut row, columns, report);
                let (Some(school), Some(weekdays)) = (school, weekdays) else { continue };
                if !row.is_sound() {
                    continue;
                }
                if let Some(other) = self.classes.get(&(school.clone(), fold(&name))).and_then(|class| class.origin.clone()) {
                    row.problem(Some(Field::Class), format!("la classe è già in «{other}»"), report);
                    continue;
                }
                self.add_class(school, name, weekdays, row.origin.clone());
            }
        }
    }

    /// Where the children's table has days of return, it makes the classes too; all rows of a class must agree.
    pub(super) fn read_classes_of_children<'a>(&mut self, tables: impl Iterator<Item = (&'a Grid, &'a Columns)>, report: &mut Report) {
        for (grid, columns) in tables.filter(|(_, columns)| columns.has(Field::Weekdays)) {
            for row in &grid.rows {
                let mut row = Row::new(grid, columns, row);
                let Some(days) = row.read(Field::Weekdays, cells::weekdays, report) else { continue };
                // What is wrong with the school or the class is reported when the child is read.
                let mut silent = Report::default();
                let (Some(school), Some(name)) = (self.school(&mut row, &mut silent), row.text(Field::Class, &mut silent)) else {
                    continue;
                };
                match self.classes.get(&(school.clone(), fold(&name))) {
                    Some(Class { weekdays, origin: Some(other), .. }) if *weekdays != days => {
                        let reason = format!("i giorni della classe sono diversi da quelli di «{other}»");
                        row.problem(Some(Field::Weekdays), reason, report);
                    }
                    Some(Class { origin: Some(_), .. }) => {}
                    _ => self.add_class(school, name, days, row.origin.clone()),
                }
            }
        }
    }

    fn add_class(&mut self, school: String, name: String, weekdays: WeekdaySet, origin: Origin) {
        let class = Class { name: name.clone(), weekdays, origin: Some(origin) };
        // A known class keeps its name as the database writes it.
        let name = self.classes.get(&(school.clone(), fold(&name))).map_or(name, |known| known.name.clone());
        self.classes.insert((school.clone(), fold(&name)), Class { name: name.clone(), ..class });
        self.class_rows.push(ClassRow { school, name, weekdays });
    }

    /// Code of the school that the row names; where it is missing or unknown that is reported.
    pub(super) fn required_school(&self, row: &mut Row<'_>, report: &mut Report) -> Option<String> {
        let name = row.required(Field::School, report);
        if name.is_empty() {
            return None;
        }
        self.find_school(&name, row, report)
    }

    /// Code of the school that the row names, if it names one; an unknown one is reported.
    pub(super) fn optional_school(&self, row: &mut Row<'_>, report: &mut Report) -> Option<String> {
        let name = row.text(Field::School, report)?;
        self.find_school(&name, row, report)
    }

    /// Name of the class that the row names, in that school; an unknown one is reported.
    pub(super) fn class(&self, school: &str, name: &str, row: &mut Row<'_>, report: &mut Report) -> Option<String> {
        let class = self.classes.get(&(school.to_owned(), fold(name)));
        if class.is_none() {
            row.problem(Some(Field::Class), format!("la classe «{name}» non c'è nella scuola indicata"), report);
        }
        class.map(|class| class.name.clone())
    }

    fn find_school(&self, name: &str, row: &mut Row<'_>, report: &mut Report) -> Option<String> {
        let code = self.schools.get(&fold(name)).cloned();
        if code.is_none() {
            row.problem(Some(Field::School), format!("la scuola «{name}» non è conosciuta"), report);
        }
        code
    }

    /// As [`Self::required_school`], but makes the school where schools are implied.
    fn school(&mut self, row: &mut Row<'_>, report: &mut Report) -> Option<String> {
        let name = row.required(Field::School, report);
        if name.is_empty() {
            return None;
        }
        let folded = fold(&name);
        if self.implied && !self.schools.contains_key(&folded) && !folded.is_empty() {
            self.schools.insert(folded, name.clone());
            self.school_rows.push(SchoolRow { code: name.clone(), name });
            return self.school_rows.last().map(|school| school.code.clone());
        }
        self.find_school(&name, row, report)
    }
}

/// Days of return, from one column or from a column a day; reported where there are none at all.
fn weekdays(row: &mut Row<'_>, columns: &Columns, report: &mut Report) -> Option<WeekdaySet> {
    if columns.has(Field::Weekdays) {
        let days = row.read(Field::Weekdays, cells::weekdays, report);
        if days.is_none() && row.is_sound() {
            row.problem(Some(Field::Weekdays), "manca (se la classe non mangia mai a scuola scrivere «nessuno»)", report);
        }
        return days;
    }
    let mut days = WeekdaySet::EMPTY;
    for day in [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat] {
        if columns.has(Field::Day(day)) && row.read(Field::Day(day), cells::tick, report) {
            days.insert(day);
        }
    }
    Some(days)
}
