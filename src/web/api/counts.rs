//! What the kitchen cooks on a day.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, Problem,
    auth::Caller,
    extract::{InPath, InQuery},
    values::{Day, Id, tagged},
};
use crate::desk::kitchen::{ClassCount, SchoolCount};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DayPath {
    /// The day.
    day: Day,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CountsQuery {
    /// Only this school, by its number.
    #[param(value_type = Option<i64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    school: Option<Id>,
}

/// Head counts of a day.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Counts {
    day: Day,
    /// Every school is counted for good.
    is_final: bool,
    /// Meals to be cooked.
    meals: u32,
    schools: Vec<SchoolCounts>,
}

/// Head counts of a school.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchoolCounts {
    /// The school's number.
    school: i64,
    name: String,
    /// Counted at the cut-off: nothing changes it any more, only `changes` tell what came afterwards. Before, it is provisional.
    is_final: bool,
    /// Meals to be cooked, as of the cut-off where it is final.
    meals: u32,
    /// Why a class does not eat though it would on this weekday, in Italian.
    closed: Vec<String>,
    classes: Vec<ClassCounts>,
    /// What changed after the cut-off.
    changes: Vec<CountChange>,
}

/// Head counts of a class.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClassCounts {
    /// The class's number.
    class: i64,
    name: String,
    /// Meals to be cooked, white ones too.
    meals: u32,
    /// Meals that are not white, by diet.
    diets: Vec<DietCount>,
    /// White meals.
    white: u32,
    /// Children whose meal is cancelled.
    cancelled: u32,
    /// Children who are suspended.
    suspended: u32,
}

/// Meals of a diet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DietCount {
    diet: String,
    meals: u32,
}

/// Meals that changed after the cut-off.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountChange {
    at: DateTime<Utc>,
    /// Meals more, or fewer where it is negative.
    meals: i64,
}

impl From<ClassCount> for ClassCounts {
    fn from(count: ClassCount) -> Self {
        Self {
            class: count.id,
            meals: count.meals(),
            name: count.name,
            diets: count.diets.into_iter().map(|(diet, meals)| DietCount { diet, meals }).collect(),
            white: count.white,
            cancelled: count.cancelled,
            suspended: count.suspended,
        }
    }
}

impl From<SchoolCount> for SchoolCounts {
    fn from(count: SchoolCount) -> Self {
        Self {
            school: count.id,
            is_final: count.is_final,
            meals: count.meals(),
            name: count.name,
            closed: count.closed,
            classes: count.classes.into_iter().map(ClassCounts::from).collect(),
            // The office's reasons stay there: they may tell of a child.
            changes: count.changes.iter().map(|c| CountChange { at: c.at, meals: c.meals }).collect(),
        }
    }
}

/// Head counts of a day, by school, class and diet
#[utoipa::path(
    get,
    path = "/api/v1/counts/{day}",
    operation_id = "counts",
    tag = "counts",
    params(DayPath, CountsQuery),
    responses((status = 200, description = "The counts.", body = Counts, headers(("ETag" = String))))
)]
pub(super) async fn of_day(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InPath(DayPath { day }): InPath<DayPath>,
    InQuery(query): InQuery<CountsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (mut count, _) = api.desk.count_day(caller.ente(), day.0).await?;
    if let Some(Id(school)) = query.school {
        count.schools.retain(|s| s.id == school);
        if count.schools.is_empty() {
            return Err(Problem::not_found());
        }
    }
    let counts = Counts {
        day,
        is_final: count.is_final(),
        meals: count.meals(),
        schools: count.schools.into_iter().map(SchoolCounts::from).collect(),
    };
    tagged(&headers, &counts)
}
