//! Which session a request belongs to: the service's sources, tried in order. Plain functions over
//! a head's view, so that every protocol asks the same question and gets the same answer.

use std::{collections::HashMap, fmt};

use homing_session::head::HeadView;
use homing_wire::{
    KeySecret, KeySource, Service, SessionKey, limits::RAW_KEY_BYTES_MAX, service::CookieSpec,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::cookie::{CookieKeys, Found, Scope};

#[cfg(test)]
mod tests;

/// Longest bearer token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// How far the clocks of a token's issuer and ours may differ.
const LEEWAY_S: u64 = 60;

/// A key that verifies bearer tokens, bound to one algorithm: a token cannot choose another.
#[derive(Clone)]
pub struct TokenKey {
    key: DecodingKey,
    validation: Validation,
}

impl TokenKey {
    /// Takes the key and what every token under it must say. Expiry is always demanded.
    #[must_use]
    pub fn new(
        algorithm: Algorithm,
        key: DecodingKey,
        issuer: Option<&str>,
        audience: Option<&str>,
    ) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        match audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            // A token for another audience still names its user; who may use it is the app's call.
            None => validation.validate_aud = false,
        }
        Self { key, validation }
    }

    fn claim(&self, token: &[u8], claim: &str) -> Option<String> {
        let mut claims =
            jsonwebtoken::decode::<HashMap<String, Value>>(token, &self.key, &self.validation)
                .ok()?
                .claims;
        match claims.remove(claim)? {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            _ => None,
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({:?})", self.validation.algorithms)
    }
}

/// Everything that turns a request into a session key.
#[derive(Clone, Debug)]
pub struct KeyReader {
    /// Keys the session hash.
    pub secret: KeySecret,
    /// Sign and verify session cookies.
    pub cookies: CookieKeys,
    /// Verify bearer tokens, by the id services name.
    pub tokens: HashMap<String, TokenKey>,
}

/// Where a key came from, for logs and `why`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// A session cookie.
    Cookie,
    /// A header.
    Header,
    /// A token's claim.
    Token,
    /// A path segment.
    Path,
    /// A query parameter.
    Query,
    /// Minted for this request.
    Minted,
    /// The edge has found it out, and told it to this gate.
    Told,
}

/// What the request said about its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionRead<'a> {
    /// It belongs to this session.
    Known {
        /// The session.
        key: SessionKey,
        /// How it was told.
        origin: KeyOrigin,
        /// A cookie to issue again with the same raw id.
        renew: Option<(&'a CookieSpec, [u8; 16])>,
    },
    /// A new one: mint a key and set this cookie.
    Mint(&'a CookieSpec),
    /// None, and the service has no cookie to begin one with.
    None,
}

/// What was found wrong on the way; each is counted and none fails the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFaults {
    /// A session cookie that no key of ours made.
    pub cookie_tampered: bool,
    /// A session cookie past its session.
    pub cookie_expired: bool,
    /// A bearer token that does not verify or lacks the claim.
    pub token_refused: bool,
    /// A raw key over its bound.
    pub key_too_long: bool,
}

impl KeyReader {
    /// Reads the session of a request for `service`.
    #[must_use]
    pub fn read<'s>(
        &self,
        service: &'s Service,
        head: &HeadView<'_>,
        now_ms: u64,
    ) -> (SessionRead<'s>, KeyFaults) {
        let mut faults = KeyFaults::default();
        let mut mint = SessionRead::None;
        for source in &service.session.from {
            let known = match source {
                KeySource::Cookie(spec) => {
                    if mint == SessionRead::None {
                        mint = SessionRead::Mint(spec);
                    }
                    self.by_cookie(service, spec, head, now_ms, &mut faults)
                }
                KeySource::Header { name } => head
                    .single_header(name)
                    .and_then(|value| self.known(service, value, KeyOrigin::Header, &mut faults)),
                KeySource::JwtClaim { claim, key_id } => {
                    self.by_token(service, claim, key_id, head, &mut faults)
                }
                KeySource::PathSegment { index } => head.path_segment(*index).and_then(|segment| {
                    self.known(service, segment.as_bytes(), KeyOrigin::Path, &mut faults)
                }),
                KeySource::Query { name } => head.query_value(name).and_then(|value| {
                    self.known(service, value.as_bytes(), KeyOrigin::Query, &mut faults)
                }),
            };
            if let Some(known) = known {
                return (known, faults);
            }
        }
        (mint, faults)
    }

    fn known<'s>(
        &self,
        service: &Service,
        raw: &[u8],
        origin: KeyOrigin,
        faults: &mut KeyFaults,
    ) -> Option<SessionRead<'s>> {
        let raw = raw.trim_ascii();
        if raw.is_empty() {
            return None;
        }
        if raw.len() > RAW_KEY_BYTES_MAX {
            faults.key_too_long = true;
            return None;
        }
        let key = SessionKey::derive(&self.secret, &service.tenant, &service.name, raw);
        Some(SessionRead::Known { key, origin, renew: None })
    }

    /// The session of a raw key, as a request that carried it would have it.
    #[must_use]
    pub fn of_raw(&self, service: &Service, raw: &[u8]) -> Option<SessionKey> {
        match self.known(service, raw, KeyOrigin::Header, &mut KeyFaults::default())? {
            SessionRead::Known { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The session of a cookie's value, if it is one of ours and not expired.
    #[must_use]
    pub fn of_cookie(
        &self,
        service: &Service,
        spec: &CookieSpec,
        value: &[u8],
        now_ms: u64,
    ) -> Option<SessionKey> {
        let scope = scope(service, spec);
        let values = std::iter::once(value);
        match self.cookies.find(&scope, values, service.session.idle_ms, now_ms) {
            Found::Valid { raw, .. } => {
                Some(SessionKey::derive(&self.secret, &service.tenant, &service.name, &raw))
            }
            _ => None,
        }
    }

    fn by_cookie<'s>(
        &self,
        service: &Service,
        spec: &'s CookieSpec,
        head: &HeadView<'_>,
        now_ms: u64,
        faults: &mut KeyFaults,
    ) -> Option<SessionRead<'s>> {
        let scope = scope(service, spec);
        let values = head.cookies(&spec.name);
        match self.cookies.find(&scope, values, service.session.idle_ms, now_ms) {
            Found::Valid { raw, renew } => {
                let key = SessionKey::derive(&self.secret, &service.tenant, &service.name, &raw);
                let renew = renew.then_some((spec, raw));
                return Some(SessionRead::Known { key, origin: KeyOrigin::Cookie, renew });
            }
            Found::Tampered => faults.cookie_tampered = true,
            Found::Expired => faults.cookie_expired = true,
            Found::None => {}
        }
        None
    }

    fn by_token<'s>(
        &self,
        service: &Service,
        claim: &str,
        key_id: &str,
        head: &HeadView<'_>,
        faults: &mut KeyFaults,
    ) -> Option<SessionRead<'s>> {
        let token = bearer(head.single_header("authorization")?)?;
        let raw = (token.len() <= TOKEN_BYTES_MAX)
            .then(|| self.tokens.get(key_id)?.claim(token, claim))
            .flatten();
        match raw {
            Some(raw) => self.known(service, raw.as_bytes(), KeyOrigin::Token, faults),
            None => {
                faults.token_refused = true;
                None
            }
        }
    }

    /// The `Set-Cookie` value that carries a raw id.
    #[must_use]
    pub fn cookie(
        &self,
        service: &Service,
        spec: &CookieSpec,
        raw: [u8; 16],
        now_ms: u64,
    ) -> String {
        let value = self.cookies.sign(&scope(service, spec), raw, now_ms);
        super::cookie::set_cookie(spec, &value, service.session.idle_ms)
    }
}

fn scope<'a>(service: &'a Service, spec: &'a CookieSpec) -> Scope<'a> {
    Scope { tenant: &service.tenant, service: &service.name, name: &spec.name }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
