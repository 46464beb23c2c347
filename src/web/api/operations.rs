//! Operations: taken by the same rule as everywhere, and read from where one was.
//!
//! An order over the API is one of the web channel (R5): a chosen day, until its cut-off. The record says whose token it was.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, Problem,
    auth::Caller,
    extract::{InBody, InPath, InQuery},
    problem::Told,
    values::{ChildPath, Day, Id, after_of, choice_schema, limit_of, paged, reason_schema},
};
use crate::{
    canteen::{ChildId, Choice, rule::Request},
    desk::{access::Scope, operate::Order},
    store::{FeedOperation, Verdict},
};

/// The header under which an order is done once.
const KEY: &str = "idempotency-key";
/// The longest key.
const LONGEST_KEY: usize = 100;

/// An operation and how it was answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Operation {
    id: i64,
    /// The child's number.
    child: i64,
    /// When it was judged.
    at: DateTime<Utc>,
    /// How it came in: `phone`, `web` (portal and this API), `office`.
    channel: String,
    #[serde(rename = "operation")]
    #[schema(schema_with = choice_schema)]
    choice: Choice,
    /// The day it falls on, or would have; null where the rule found none.
    #[schema(required)]
    day: Option<Day>,
    /// The last day of a suspension, where one was given.
    #[schema(required)]
    until: Option<Day>,
    /// It stands.
    accepted: bool,
    /// Why it does not.
    #[schema(required, schema_with = reason_schema)]
    reason: Option<String>,
    /// The number that the family was told.
    #[schema(pattern = "^[0-9]{6,12}$", example = "572406")]
    receipt: String,
    /// The office did it after the cut-off, with a written reason.
    after_cutoff: bool,
}

impl From<FeedOperation> for Operation {
    fn from(found: FeedOperation) -> Self {
        let FeedOperation { child, operation } = found;
        let (accepted, reason, day) = match operation.verdict {
            Verdict::Accepted(day) => (true, None, Some(day)),
            Verdict::Refused(reason, day) => (false, Some(word(reason)), day),
            Verdict::DayChanged(day) => (false, Some("day_changed".to_owned()), Some(day)),
        };
        Self {
            id: operation.id,
            child: child.0,
            at: operation.at,
            channel: operation.channel,
            choice: operation.choice,
            day: day.map(Day),
            until: operation.until.map(Day),
            accepted,
            reason,
            receipt: operation.receipt,
            after_cutoff: operation.late,
        }
    }
}

/// A reason's one word.
fn word(reason: crate::canteen::Reason) -> String {
    serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What can be asked for over the API.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Cancel the meal of the day.
    Cancel,
    /// A white meal on the day.
    White,
    /// Undo a cancellation or a white meal of the day.
    Undo,
}

impl From<Kind> for Choice {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Cancel => Self::Cancel,
            Kind::White => Self::White,
            Kind::Undo => Self::Undo,
        }
    }
}

/// An order for a child and a day.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOperation {
    operation: Kind,
    day: Day,
}

/// The key of an order.
fn key_of(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut sent = headers.get_all(KEY).iter();
    let Some(key) = sent.next() else {
        return Err(Problem::bad("idempotency_key_missing", "Send a header Idempotency-Key that is new for each order."));
    };
    let fits = |key: &&str| {
        (8..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    let wrong = || {
        Problem::bad(
            "idempotency_key_invalid",
            format!("One Idempotency-Key of 8 to {LONGEST_KEY} letters, digits, '-', '_', '.' and ':'."),
        )
    };
    key.to_str().ok().filter(fits).filter(|_| sent.next().is_none()).ok_or_else(wrong)
}

/// Cancel a meal, ask for a white one, or undo either
///
/// By the same rule as on the telephone and on the portal: a day that is served, until its cut-off. The answer is durable. The same order sent
/// again under the same `Idempotency-Key` gets the same receipt again and does nothing. What the rule refuses is kept too, with a receipt, and
/// told in 409: `code` is the reason, `detail` and `steps` explain it in Italian.
#[utoipa::path(
    post,
    path = "/api/v1/children/{child}/operations",
    operation_id = "operate",
    tag = "operations",
    params(
        ChildPath,
        ("Idempotency-Key" = String, Header, description = "New for each order, the same when it is sent again.", pattern = "^[A-Za-z0-9_.:-]{8,100}$")
    ),
    request_body = NewOperation,
    responses(
        (
            status = 200,
            description = "It stands.",
            body = Operation,
            links(("receipt" = (operation_id = "receipt", parameters(("receipt" = "$response.body#/receipt")))))
        ),
        (status = 409, description = "The rule has refused it, or the key was used for another order (`idempotency_key_reused`).", body = Told, content_type = "application/problem+json"),
        (status = 422, description = "The body is not as described.", body = Told, content_type = "application/problem+json"),
    )
)]
pub(super) async fn operate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InPath(ChildPath { child }): InPath<ChildPath>,
    headers: HeaderMap,
    InBody(new): InBody<NewOperation>,
) -> Result<Json<Operation>, Problem> {
    // A token's keys are its own.
    let key = format!("api:{}:{}", caller.token.row.id, key_of(&headers)?);
    let (ente, child, choice) = (caller.ente(), ChildId(child.0), Choice::from(new.operation));
    api.desk.feed_child(ente, child).await?;
    let actor = caller.token.actor("").name;
    let request = Request::Web { choice, day: new.day.0, until: None };
    let order = Order { ente, child, request, actor: &actor, call_id: None, key: &key, expected: None };
    let receipt = api.desk.operate(&order).await?;
    let done = api.desk.receipt(ente, &receipt.number).await?.ok_or_else(Problem::key_reused)?;
    let day = match done.operation.verdict {
        Verdict::Accepted(day) | Verdict::DayChanged(day) => Some(day),
        Verdict::Refused(_, day) => day,
    };
    if done.child != child || done.operation.choice != choice || day.is_some_and(|day| day != new.day.0) {
        return Err(Problem::key_reused());
    }
    if let Verdict::Refused(reason, _) = done.operation.verdict {
        let explained = api.desk.explain_operation(ente, child, done.operation.id).await?;
        let (_, explained) = explained.ok_or_else(Problem::not_found)?;
        return Err(Problem::refused(&word(reason), explained.conclusion, explained.steps, receipt.number));
    }
    Ok(Json(done.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationsQuery {
    /// Only this child's.
    #[param(value_type = Option<i64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    child: Option<Id>,
    /// The `cursor` of the answer before, however long ago.
    #[param(nullable = false, minimum = 0, maximum = 9_007_199_254_740_991i64)]
    after: Option<i64>,
    /// How many at most; 100 if it is left out.
    #[param(nullable = false, minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// A page of operations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Operations {
    items: Vec<Operation>,
    /// Send it as `after` to read on, now or when there may be news.
    cursor: i64,
    /// There are more already.
    more: bool,
}

/// Operations since a cursor, oldest first
///
/// Refused ones too. Who keeps the cursor and reads on from it misses none and sees none twice.
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    operation_id = "operations",
    tag = "operations",
    params(OperationsQuery),
    responses((status = 200, description = "A page of operations.", body = Operations))
)]
pub(super) async fn since(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InQuery(query): InQuery<OperationsQuery>,
) -> Result<Json<Operations>, Problem> {
    let (after, limit) = (after_of(query.after)?, limit_of(query.limit)?);
    let child = query.child.map(|id| ChildId(id.0));
    let rows = api.desk.feed_operations(caller.ente(), child, after, limit + 1).await?;
    caller.note(Scope::Operations, "ha letto operazioni").await?;
    let (rows, cursor, more) = paged(rows, limit, after, |o| o.operation.id);
    Ok(Json(Operations { items: rows.into_iter().map(Operation::from).collect(), cursor, more }))
}
