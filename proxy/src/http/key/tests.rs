use homing_session::head::HeaderLookup;
use homing_wire::{
    LongLived, Match, SameSite, SessionSource, StateSpec, TrafficLimits, service::Service,
};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::http::cookie::CookieKey;

const NOW_MS: u64 = 1_790_000_000_000;
/// 2100-01-01, past any clock these tests run under.
const FAR_S: u64 = 4_102_444_800;

struct Headers<'a>(&'a [(&'a str, &'a [u8])]);

impl HeaderLookup for Headers<'_> {
    fn nth(&self, name: &str, n: usize) -> Option<&[u8]> {
        self.0.nth(name, n)
    }
}

fn reader() -> KeyReader {
    let token = TokenKey::new(
        Algorithm::HS256,
        DecodingKey::from_secret(b"a token secret"),
        Some("https://id.example"),
        None,
    );
    KeyReader {
        secret: KeySecret::from_material(b"session"),
        cookies: CookieKeys::new(CookieKey::from_material(b"cookie"), Vec::new()),
        tokens: HashMap::from([("main".to_owned(), token)]),
    }
}

fn service(from: Vec<KeySource>) -> Service {
    Service {
        name: "shop".to_owned(),
        tenant: "default".to_owned(),
        matches: Match { hosts: Vec::new(), path_prefix: "/".to_owned() },
        session: SessionSource { from, idle_ms: 86_400_000 },
        state: StateSpec::Stateless,
        long_lived: LongLived::Drain,
        cache: None,
        idempotency: false,
        lease_lost: homing_wire::LeaseLost::Stop,
        tier: homing_wire::Tier::T0,
        endpoints: Vec::new(),
        health: None,
        limits: TrafficLimits::default(),
    }
}

fn cookie_source() -> KeySource {
    let name = "homing".to_owned();
    KeySource::Cookie(CookieSpec { name, same_site: SameSite::Lax, secure: false })
}

fn jwt_source() -> KeySource {
    KeySource::JwtClaim { claim: "sub".to_owned(), key_id: "main".to_owned() }
}

fn header_source() -> KeySource {
    KeySource::Header { name: "x-user".to_owned() }
}

fn read<'s>(
    reader: &KeyReader,
    service: &'s Service,
    headers: &[(&str, &[u8])],
) -> (SessionRead<'s>, KeyFaults) {
    let headers = Headers(headers);
    let head = HeadView {
        method: "GET",
        host: "shop.example",
        path: "/users/42/cart",
        query: Some("user=43"),
        headers: &headers,
    };
    reader.read(service, &head, NOW_MS)
}

fn key_of(reader: &KeyReader, raw: &[u8]) -> SessionKey {
    SessionKey::derive(&reader.secret, "default", "shop", raw)
}

fn token(secret: &[u8], alg: Algorithm, claims: &Value) -> Vec<u8> {
    let token =
        jsonwebtoken::encode(&Header::new(alg), claims, &EncodingKey::from_secret(secret)).unwrap();
    format!("Bearer {token}").into_bytes()
}

fn read_token(claims: &Value, secret: &[u8], alg: Algorithm) -> (Option<SessionKey>, KeyFaults) {
    let (reader, service) = (reader(), service(vec![jwt_source()]));
    let token = token(secret, alg, claims);
    match read(&reader, &service, &[("authorization", &token)]) {
        (SessionRead::Known { key, origin: KeyOrigin::Token, .. }, faults) => (Some(key), faults),
        (_, faults) => (None, faults),
    }
}

#[test]
fn sources_are_tried_in_order() {
    let reader = reader();
    let listed = |from| service(from);
    let path = listed(vec![header_source(), KeySource::PathSegment { index: 1 }]);
    let (found, _) = read(&reader, &path, &[("x-user", b"7")]);
    let known =
        |raw: &[u8], origin| SessionRead::Known { key: key_of(&reader, raw), origin, renew: None };
    assert_eq!(found, known(b"7", KeyOrigin::Header));
    assert_eq!(read(&reader, &path, &[]).0, known(b"42", KeyOrigin::Path));
    let query = listed(vec![KeySource::Query { name: "user".to_owned() }]);
    assert_eq!(read(&reader, &query, &[]).0, known(b"43", KeyOrigin::Query));
}

#[test]
fn no_key_mints_where_a_cookie_is_listed_and_only_there() {
    let reader = reader();
    let with_cookie = service(vec![header_source(), cookie_source()]);
    assert!(matches!(read(&reader, &with_cookie, &[]).0, SessionRead::Mint(_)));
    let without = service(vec![header_source()]);
    assert_eq!(read(&reader, &without, &[]).0, SessionRead::None);
}

#[test]
fn a_cookie_gives_the_key_its_raw_id_derives_and_a_tampered_one_mints() {
    let reader = reader();
    let service = service(vec![cookie_source()]);
    let KeySource::Cookie(spec) = &service.session.from[0] else { unreachable!() };
    let set = reader.cookie(&service, spec, [7; 16], NOW_MS);
    let cookie = set.split(';').next().unwrap().as_bytes();
    let (found, faults) = read(&reader, &service, &[("cookie", cookie)]);
    let key = key_of(&reader, &[7; 16]);
    assert_eq!(found, SessionRead::Known { key, origin: KeyOrigin::Cookie, renew: None });
    assert_eq!(faults, KeyFaults::default());

    let mut tampered = cookie.to_vec();
    tampered[20] ^= 1;
    let (found, faults) = read(&reader, &service, &[("cookie", &tampered)]);
    assert!(matches!(found, SessionRead::Mint(_)));
    assert!(faults.cookie_tampered);
}

#[test]
fn a_verified_token_names_the_user_by_text_or_integer() {
    let reader = reader();
    let claims = json!({"sub": "alice", "exp": FAR_S, "iss": "https://id.example"});
    let (key, faults) = read_token(&claims, b"a token secret", Algorithm::HS256);
    assert_eq!((key, faults), (Some(key_of(&reader, b"alice")), KeyFaults::default()));
    let claims = json!({"sub": 17, "exp": FAR_S, "iss": "https://id.example"});
    let (key, _) = read_token(&claims, b"a token secret", Algorithm::HS256);
    assert_eq!(key, Some(key_of(&reader, b"17")));
}

#[test]
fn what_does_not_verify_is_no_key() {
    let good = json!({"sub": "alice", "exp": FAR_S, "iss": "https://id.example"});
    let refused = |claims: &Value, secret: &[u8], alg| {
        let (key, faults) = read_token(claims, secret, alg);
        assert_eq!(key, None, "{claims}");
        assert!(faults.token_refused, "{claims}");
    };
    refused(&good, b"another secret", Algorithm::HS256);
    refused(&good, b"a token secret", Algorithm::HS512);
    let secret = b"a token secret";
    for claims in [
        json!({"sub": "alice", "exp": 1_000, "iss": "https://id.example"}),
        json!({"sub": "alice", "iss": "https://id.example"}),
        json!({"sub": "alice", "exp": FAR_S, "nbf": FAR_S, "iss": "https://id.example"}),
        json!({"sub": "alice", "exp": FAR_S, "iss": "https://other.example"}),
        json!({"sub": "alice", "exp": FAR_S}),
        json!({"sub": ["alice"], "exp": FAR_S, "iss": "https://id.example"}),
        json!({"sub": "", "exp": FAR_S, "iss": "https://id.example"}),
        json!({"exp": FAR_S, "iss": "https://id.example"}),
    ] {
        refused(&claims, secret, Algorithm::HS256);
    }
}

#[test]
fn junk_in_the_header_is_no_key_and_costs_nothing() {
    let (reader, service) = (reader(), service(vec![jwt_source(), header_source()]));
    let long = [b'a'; 9_000];
    for junk in [&b"Bearer "[..], b"Bearer x.y.z", b"Basic eDp5", b"", b"B\xc3\xa4r", &long] {
        let (found, _) = read(&reader, &service, &[("authorization", junk)]);
        assert_eq!(found, SessionRead::None);
    }
    let (found, faults) = read(&reader, &service, &[("x-user", &long)]);
    assert_eq!(found, SessionRead::None);
    assert!(faults.key_too_long);
    // Two values: nobody knows which one the app believes.
    let twice: &[(&str, &[u8])] = &[("x-user", b"1"), ("x-user", b"2")];
    assert_eq!(read(&reader, &service, twice).0, SessionRead::None);
}
