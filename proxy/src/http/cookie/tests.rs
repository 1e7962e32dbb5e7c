use super::*;

const SCOPE: Scope<'_> = Scope { tenant: "default", service: "shop", name: "homing" };
const RAW_ID: [u8; 16] = *b"0123456789abcdef";
const DAY_MS: u64 = 86_400_000;
const NOW_MS: u64 = 1_790_000_000_000;

fn keys(materials: &[&str]) -> CookieKeys {
    let mut keys = materials.iter().map(|material| CookieKey::from_material(material.as_bytes()));
    CookieKeys::new(keys.next().unwrap(), keys.collect())
}

fn find(keys: &CookieKeys, value: &str, now_ms: u64) -> Found {
    keys.find(&SCOPE, std::iter::once(value.as_bytes()), DAY_MS, now_ms)
}

#[test]
fn a_cookie_of_ours_is_found_and_a_stray_one_does_not_hide_it() {
    let keys = keys(&["one"]);
    let value = keys.sign(&SCOPE, RAW_ID, NOW_MS);
    assert_eq!(value.len(), TEXT);
    let found = |values: &[&str]| {
        keys.find(&SCOPE, values.iter().map(|value| value.as_bytes()), DAY_MS, NOW_MS)
    };
    assert_eq!(found(&[&value]), Found::Valid { raw: RAW_ID, renew: false });
    assert_eq!(found(&["stray", &value]), Found::Valid { raw: RAW_ID, renew: false });
    assert_eq!(found(&["stray"; 9_000]), Found::Tampered);
    assert_eq!(found(&[]), Found::None);
}

#[test]
fn any_altered_character_is_tampering() {
    let keys = keys(&["one"]);
    let value = keys.sign(&SCOPE, RAW_ID, NOW_MS);
    for at in 0..value.len() {
        let mut altered = value.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(find(&keys, &altered, NOW_MS), Found::Tampered, "{at}");
    }
    for junk in ["", "x", "%%%", &"A".repeat(TEXT), &"A".repeat(9_000)] {
        assert_eq!(find(&keys, junk, NOW_MS), Found::Tampered);
    }
}

#[test]
fn a_cookie_is_bound_to_its_service() {
    let keys = keys(&["one"]);
    let elsewhere = Scope { service: "blog", ..SCOPE };
    let field = keys.sign(&elsewhere, RAW_ID, NOW_MS);
    assert_eq!(find(&keys, &field, NOW_MS), Found::Tampered);
}

#[test]
fn rotation_renews_by_the_new_key_and_a_removed_key_is_a_stranger() {
    let old = keys(&["one"]);
    let field = old.sign(&SCOPE, RAW_ID, NOW_MS);
    let both = keys(&["two", "one"]);
    assert_eq!(find(&both, &field, NOW_MS), Found::Valid { raw: RAW_ID, renew: true });
    let renewed = both.sign(&SCOPE, RAW_ID, NOW_MS);
    let only_new = keys(&["two"]);
    assert_eq!(find(&only_new, &renewed, NOW_MS), Found::Valid { raw: RAW_ID, renew: false });
    assert_eq!(find(&only_new, &field, NOW_MS), Found::Tampered);
}

#[test]
fn it_renews_past_half_its_life_and_expires_after_it() {
    let keys = keys(&["one"]);
    let field = keys.sign(&SCOPE, RAW_ID, NOW_MS);
    let at = |age_ms| find(&keys, &field, NOW_MS + age_ms);
    assert_eq!(at(DAY_MS / 2 - 2_000), Found::Valid { raw: RAW_ID, renew: false });
    assert_eq!(at(DAY_MS / 2 + 2_000), Found::Valid { raw: RAW_ID, renew: true });
    assert_eq!(at(DAY_MS + 2_000), Found::Expired);
    // A clock behind the issuer's is no reason to end a session.
    assert_eq!(find(&keys, &field, 0), Found::Valid { raw: RAW_ID, renew: false });
}

#[test]
fn attributes_follow_the_spec_and_what_browsers_demand() {
    let mut spec =
        CookieSpec { name: "homing".to_owned(), same_site: SameSite::Lax, secure: false };
    assert_eq!(
        set_cookie(&spec, "v", 60_000),
        "homing=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
    );
    spec.same_site = SameSite::None;
    assert!(set_cookie(&spec, "v", 60_000).ends_with("SameSite=None; Secure"));
    spec.same_site = SameSite::Strict;
    spec.name = "__Host-homing".to_owned();
    assert_eq!(
        set_cookie(&spec, "v", 60_000),
        "__Host-homing=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
    );
}

#[test]
fn the_app_does_not_see_the_session_cookie() {
    let left =
        |field: &str| without(field.as_bytes(), "homing").map(|l| String::from_utf8(l).unwrap());
    assert_eq!(left("homing=x").as_deref(), None);
    assert_eq!(left("a=b; homing=x; c=d").as_deref(), Some("a=b; c=d"));
    assert_eq!(left("homing2=x;homing=y").as_deref(), Some("homing2=x"));
    assert_eq!(left("").as_deref(), None);
}

#[test]
fn secrets_do_not_print() {
    let key = CookieKey::from_material(b"a secret");
    let printed = format!("{key:?}");
    assert!(!printed.contains("secret") && printed.len() < 24, "{printed}");
}
