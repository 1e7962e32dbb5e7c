//! Who may do what: bearer tokens with a role each, some of them for some tenants only. Without
//! any token configured the listener is bound to loopback (the settings see to that) and whoever
//! reaches it may do everything, except a web page, whose requests carry an origin.

use axum::http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use crate::scope::Scope;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To look.
    Read,
    /// To look and to change.
    Write,
}

/// One token. Only its hash is kept.
#[derive(Clone)]
pub struct Token {
    /// Whose it is, for the audit log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Of what.
    pub scope: Scope,
    hash: [u8; 32],
}

impl Token {
    /// A token as it was configured, for everything.
    #[must_use]
    pub fn new(name: String, role: Role, secret: &[u8]) -> Self {
        let scope = Scope::operator();
        Self { name, role, scope, hash: *blake3::hash(secret).as_bytes() }
    }

    /// The same for what these tenants have.
    #[must_use]
    pub fn of_tenants(self, tenants: impl IntoIterator<Item = String>) -> Self {
        Self { scope: Scope::of(tenants), ..self }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Whoever sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub String);

/// Who sent a request, and what that entitles to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub caller: Caller,
    /// Of what it may be.
    pub scope: Scope,
    /// Which token that is, by its place in the settings.
    pub token: usize,
    /// Whether the token's role allows the method.
    pub allowed: bool,
}

/// Checks whose request it is.
///
/// # Errors
/// 401 without a known token; 403 for a change by a web page where there are no tokens.
pub fn check(tokens: &[Token], method: &Method, headers: &HeaderMap) -> Result<Admitted, Problem> {
    let needed = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Role::Read,
        _ => Role::Write,
    };
    if tokens.is_empty() {
        if needed == Role::Write && headers.contains_key(header::ORIGIN) {
            return Err(forbidden("requests of web pages need a token to be configured"));
        }
        let (caller, scope) = (Caller("loopback".to_owned()), Scope::operator());
        return Ok(Admitted { caller, scope, token: 0, allowed: true });
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = given.and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    let Some(secret) = secret else {
        return Err(unauthorised("send `Authorization: Bearer <token>`"));
    };
    // Hashes are compared, each in constant time, so nothing is learnt from how long it takes.
    let hash = *blake3::hash(secret.as_bytes()).as_bytes();
    let known = tokens.iter().position(|token| bool::from(token.hash.ct_eq(&hash)));
    let known = known.and_then(|place| tokens.get(place).map(|token| (place, token)));
    let (place, token) = known.ok_or_else(|| unauthorised("the token is not known"))?;
    Ok(Admitted {
        caller: Caller(token.name.clone()),
        scope: token.scope.clone(),
        token: place,
        allowed: token.role >= needed,
    })
}

/// The refusal of a change by a token that only looks.
pub(super) fn reads_only() -> Problem {
    forbidden("the token allows reading only")
}

fn unauthorised(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorised", "A token is required", detail)
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
}
