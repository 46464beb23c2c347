//! Receipts: what was done or refused under a number that a family was told.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Api, Problem, auth::Caller, extract::InPath, operations::Operation};
use crate::desk::access::Scope;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ReceiptPath {
    /// The number, digits only.
    #[param(pattern = "^[0-9]{6,12}$", example = "572406")]
    receipt: String,
}

/// An operation with its explanation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Receipt {
    operation: Operation,
    /// How it was answered, in Italian.
    conclusion: String,
    /// The steps of the rule, in Italian.
    steps: Vec<String>,
}

/// What a receipt is of, and why it was answered as it was
#[utoipa::path(
    get,
    path = "/api/v1/receipts/{receipt}",
    operation_id = "receipt",
    tag = "receipts",
    params(ReceiptPath),
    responses((status = 200, description = "The operation.", body = Receipt))
)]
pub(super) async fn receipt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InPath(ReceiptPath { receipt }): InPath<ReceiptPath>,
) -> Result<Json<Receipt>, Problem> {
    if !(6..=12).contains(&receipt.len()) || !receipt.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::bad("invalid_path", "A receipt number has 6 to 12 digits."));
    }
    let found = api.desk.receipt(caller.ente(), &receipt).await?.ok_or_else(Problem::not_found)?;
    let explained = api.desk.explain_operation(caller.ente(), found.child, found.operation.id).await?;
    let (_, words) = explained.ok_or_else(Problem::not_found)?;
    caller.note(Scope::Operations, "ha letto operazioni").await?;
    Ok(Json(Receipt { operation: found.into(), conclusion: words.conclusion, steps: words.steps }))
}
