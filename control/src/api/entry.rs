//! The only ways for a handler to reach the installation. Each says who may come that way, so that
//! no route can be written that leaves the question open: the router's state itself gives nothing.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};

use super::{Api, Problem};
use crate::scope::Scope;

/// The router's state, which only this file opens.
#[derive(Clone, Debug)]
pub(super) struct Held(Api);

impl Held {
    pub(super) fn new(api: Api) -> Self {
        Self(api)
    }
}

/// For everybody, who then sees what is within the scope only.
#[derive(Clone, Debug)]
pub struct View(pub Api, pub Scope);

/// For operators. To anybody else there is no such path.
#[derive(Clone, Debug)]
pub struct Operator(pub Api);

/// For operators: a change of what all tenants share and may see, which is refused to them.
#[derive(Clone, Debug)]
pub struct Steward(pub Api);

/// For machines that ask without a token, and are told next to nothing.
#[derive(Clone, Debug)]
pub struct Probe(pub Api);

/// The answer where there is nothing, or nothing for this caller.
pub(super) fn no_such_path() -> Problem {
    Problem::not_found("there is no such path; /openapi.json lists them")
}

impl FromRequestParts<Held> for View {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, held: &Held) -> Result<Self, Problem> {
        // Without one the request came past the check of its token: nothing is told.
        let scope = parts.extensions.get::<Scope>().cloned().ok_or_else(no_such_path)?;
        Ok(Self(held.0.clone(), scope))
    }
}

impl FromRequestParts<Held> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, held: &Held) -> Result<Self, Problem> {
        let View(api, scope) = View::from_request_parts(parts, held).await?;
        if scope.is_operator() { Ok(Self(api)) } else { Err(no_such_path()) }
    }
}

impl FromRequestParts<Held> for Steward {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, held: &Held) -> Result<Self, Problem> {
        let View(api, scope) = View::from_request_parts(parts, held).await?;
        if scope.is_operator() {
            return Ok(Self(api));
        }
        let detail = "zones are shared by all tenants: a token without `tenants` changes them";
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail))
    }
}

impl FromRequestParts<Held> for Probe {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, held: &Held) -> Result<Self, Infallible> {
        Ok(Self(held.0.clone()))
    }
}
