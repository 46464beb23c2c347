//! What comes in with a request, read strictly: what the description does not have is refused, and the refusal says what was wrong.

use std::time::Duration;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::Problem;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in the path.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad("invalid_path", error.body_text())),
        }
    }
}

/// What stands in the query.
#[derive(Debug)]
pub struct InQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad("invalid_query", error.body_text())),
        }
    }
}

/// A body of JSON.
#[derive(Debug)]
pub struct InBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for InBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let reading = axum::Json::<T>::from_request(request, state);
        let Ok(read) = tokio::time::timeout(PATIENCE, reading).await else {
            return Err(Problem::body(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."));
        };
        read.map(|axum::Json(value)| Self(value)).map_err(|error| Problem::body(error.status(), error.body_text()))
    }
}
