use super::*;

fn trusted(networks: &[&str]) -> TrustedPeers {
    TrustedPeers::new(networks.iter().map(|text| text.parse().unwrap()).collect())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const CLAIMS: Claims<'_> = Claims {
    x_for: Some("203.0.113.9"),
    x_proto: Some("https"),
    x_host: Some("shop.example"),
    forwarded: Some("for=203.0.113.9"),
    host: "inner.example:8080",
};

#[test]
fn networks_hold_what_they_say() {
    let peers = trusted(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]);
    for inside in ["10.255.0.1", "2001:db8:1::1", "192.0.2.7", "::ffff:10.1.2.3"] {
        assert!(peers.contains(ip(inside)), "{inside}");
    }
    for outside in ["11.0.0.1", "2001:db9::1", "192.0.2.8", "::1"] {
        assert!(!peers.contains(ip(outside)), "{outside}");
    }
    assert!(trusted(&["0.0.0.0/0"]).contains(ip("8.8.8.8")));
    assert!(trusted(&["::/0"]).contains(ip("2001::1")));
    assert!(!TrustedPeers::default().contains(ip("127.0.0.1")));
}

#[test]
fn what_is_no_network_is_refused() {
    for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "example", "10.0.0.0/-1", "1.2.3.4/"] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}

#[test]
fn a_strangers_claims_are_overwritten() {
    let told = forwarding(ip("198.51.100.2"), false, false, CLAIMS);
    assert_eq!(told.x_for, "198.51.100.2");
    assert_eq!(told.x_proto, "http");
    assert_eq!(told.x_host, "inner.example:8080");
    assert_eq!(told.forwarded, "for=198.51.100.2;proto=http;host=\"inner.example:8080\"");
}

#[test]
fn a_trusted_fronts_claims_are_continued() {
    let told = forwarding(ip("10.0.0.1"), false, true, CLAIMS);
    assert_eq!(told.x_for, "203.0.113.9, 10.0.0.1");
    assert_eq!(told.x_proto, "https");
    assert_eq!(told.x_host, "shop.example");
    assert!(told.forwarded.starts_with("for=203.0.113.9, for=10.0.0.1;proto=http"));
}

#[test]
fn odd_values_neither_grow_nor_break_out() {
    let long = "1.1.1.1, ".repeat(1_000);
    let claims = Claims {
        x_for: Some(&long),
        forwarded: Some(&long),
        x_proto: Some("gopher"),
        host: "a\";for=evil",
        ..CLAIMS
    };
    let told = forwarding(ip("2001:db8::1"), true, true, claims);
    assert_eq!(told.x_for, "2001:db8::1");
    assert_eq!(told.x_proto, "https");
    assert_eq!(told.forwarded, "for=\"[2001:db8::1]\";proto=https");
}
