//! The wire as another process sees it: vectors and golden bytes that must never change, what
//! survives the way there and back, and what damage is refused.

use homing_wire::{
    Act, BUCKETS, Bucket, BucketRun, Buckets, Capacity, CookieSpec, Cut, DecodeFault, Delta,
    DeltaRefused, Directive, DirectiveId, Endpoint, Epoch, Facts, HandoffFigures, HealthCheck,
    Home, Hooks, Incarnation, Intake, KeyPattern, KeySecret, KeySource, Location, LongLived, Match,
    MoveReason, Outcome, OutcomeEnd, Place, PlaceId, PlacementTable, Policy, Price, RecordBatch,
    Redis, RedisUrl, SameSite, Service, ServiceId, SessionActivity, SessionKey, SessionSource,
    StateSpec, TableDraft, TableFault, TrafficLimits, UndoneReason, UpstreamProtocol, Version,
    Zone, ZoneId, ZoneSample, chunk, envelope,
    link::{LinkFault, LinkFrame, Mirror, Open, Payload},
    message::{Activated, Chunk, FromProxy, GateHello, Heir, Hello, NackReason, ToProxy},
    proto::from_proxy::Body,
};
use proptest::prelude::*;

fn zone(name: &str, sessions: u64) -> Zone {
    Zone {
        name: name.to_owned(),
        location: Some(Location { lat_udeg: 48_860_000, lon_udeg: 2_350_000 }),
        endpoints: vec![Endpoint {
            address: "10.1.0.10:8080".to_owned(),
            weight: 100,
            protocol: UpstreamProtocol::H1,
        }],
        capacity: Capacity { sessions, cpu_milli: 64_000, ..Capacity::default() },
        price: Price { cpu_hour_micros: 41_000, ..Price::default() },
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    }
}

fn facts() -> Facts {
    Facts {
        zones: vec![zone("paris", 30_000), zone("oregon", 10_000), zone("tokyo", 0)],
        services: vec![Service {
            name: "shop".to_owned(),
            tenant: "default".to_owned(),
            matches: Match { hosts: vec!["shop.example".to_owned()], path_prefix: "/".to_owned() },
            session: SessionSource {
                from: vec![
                    KeySource::JwtClaim { claim: "sub".to_owned(), key_id: "main".to_owned() },
                    KeySource::Header { name: "x-user".to_owned() },
                    KeySource::PathSegment { index: 1 },
                    KeySource::Query { name: "sid".to_owned() },
                    KeySource::Cookie(CookieSpec {
                        name: "__Host-homing".to_owned(),
                        same_site: SameSite::Strict,
                        secure: true,
                    }),
                ],
                idle_ms: 86_400_000,
            },
            state: StateSpec::Hooks(Hooks {
                path: "/homing/state".to_owned(),
                timeout_ms: 2_000,
                state_bytes_max: 16 << 20,
            }),
            long_lived: LongLived::Carry,
            cache: None,
            idempotency: false,
            lease_lost: homing_wire::LeaseLost::Stop,
            tier: homing_wire::Tier::T0,
            endpoints: vec![(ZoneId(1), zone("x", 0).endpoints)],
            health: Some(HealthCheck {
                path: "/health".to_owned(),
                interval_ms: 1_000,
                timeout_ms: 500,
                fall: 3,
                rise: 2,
            }),
            limits: TrafficLimits::default(),
        }],
        places: vec![Place { name: "lyon".to_owned(), rtt_us: vec![6_000, 140_000, u32::MAX] }],
        policy: Policy {
            act: Act::On,
            place_header: Some("x-place".to_owned()),
            ..Policy::default()
        },
    }
}

fn directive(id: u64, key: u128) -> Directive {
    Directive {
        id: DirectiveId(id),
        key: SessionKey(key),
        from: ZoneId(0),
        to: ZoneId(1),
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(7),
        epoch: Epoch(5),
        reason: MoveReason::Latency,
        cut: Cut::IdleGap,
    }
}

fn table() -> PlacementTable {
    let mut draft = TableDraft::first(Version { term: 3, n: 9 }, facts(), 1_700_000_000_000);
    draft.exceptions.insert(SessionKey(1 << 120), Home { zone: ZoneId(2), epoch: Epoch(4) });
    draft.directives.insert(DirectiveId(11), directive(11, 1 << 120));
    draft.seal().expect("the sample table has no faults")
}

#[test]
fn session_keys_match_their_vectors() {
    let secret = KeySecret::new([7; 32]);
    let key = |tenant, service, raw: &str| {
        SessionKey::derive(&secret, tenant, service, raw.as_bytes()).to_string()
    };
    // Changing any of these logs every user of every installation out of their home.
    assert_eq!(key("default", "shop", "alice"), VECTORS[0]);
    assert_eq!(key("default", "shop", ""), VECTORS[1]);
    assert_eq!(key("defaults", "hop", "alice"), VECTORS[2]);
    let material = KeySecret::from_material(b"0123456789abcdef0123456789abcdef");
    assert_eq!(SessionKey::derive(&material, "t", "s", b"k").to_string(), VECTORS[3]);
    let parsed: SessionKey = VECTORS[0].parse().expect("32 hexadecimal digits");
    assert_eq!(u32::from(parsed.bucket().0), u32::from_str_radix(&VECTORS[0][..4], 16).unwrap());
}

/// Made with another implementation of BLAKE3, after the definition in `session_key.rs`.
const VECTORS: [&str; 4] = [
    "532020826385c7d9a42e8a7bf3399cf6",
    "e514820598b1ff02d00f1c1ea363c5ed",
    "dd88449c7aaaff128f805db05280172d",
    "1e658072d6e18f537f666b918960efca",
];

#[test]
fn a_secret_does_not_print_itself() {
    assert_eq!(format!("{:?}", KeySecret::new([42; 32])), "KeySecret(..)");
}

#[test]
fn malformed_session_keys_are_refused() {
    for text in ["", "12", "g0000000000000000000000000000000", "+0000000000000000000000000000000"] {
        assert!(text.parse::<SessionKey>().is_err(), "{text:?}");
    }
}

#[test]
fn a_table_keeps_its_golden_bytes() {
    let sealed = table().encode();
    // A change here is a change of format: raise envelope::FORMAT and keep reading this one.
    assert_eq!((sealed.len(), crc32c::crc32c(&sealed)), GOLDEN_TABLE);
    let mut next = table();
    let sealed = next.advance(change()).expect("the sample change has no faults").encode();
    assert_eq!(hex::encode(&sealed), GOLDEN_DELTA);
}

const GOLDEN_TABLE: (usize, u32) = (131_614, 3_679_151_610);
const GOLDEN_DELTA: &str = concat!(
    "484f4d1a00010200000000000000007527e65a9a0a040803100912040803100a18f4d395ffbc312a",
    "0a08feff0310021801200232180a10000000000000000000000000000000051201011a01023a1001",
    "000000000000000000000000000000421c080c121000000000000000000000000000000063200128",
    "07300538024a010b513311b5490a475b97",
);

fn change() -> Delta {
    let mut change = Delta::to(Version { term: 3, n: 10 }, 1_700_000_000_500);
    change.buckets.push(BucketRun {
        first: Bucket(65_534),
        count: 2,
        home: Home { zone: ZoneId(1), epoch: Epoch(2) },
    });
    change.set.push((SessionKey(5), Home { zone: ZoneId(1), epoch: Epoch(2) }));
    change.removed.push(SessionKey(1 << 120));
    change.directives.push(directive(12, 99));
    change.withdrawn.push(DirectiveId(11));
    change
}

#[test]
fn a_table_comes_back_as_it_went() {
    let table = table();
    assert_eq!(PlacementTable::decode(&table.encode()), Ok(table));
}

#[test]
fn a_service_in_redis_comes_back_as_it_went() {
    let mut facts = facts();
    let server = |text| RedisUrl::parse(text).expect("an address");
    facts.services[0].state = StateSpec::Redis(Redis {
        servers: vec![
            (ZoneId(0), server("redis://10.1.0.5")),
            (ZoneId(1), server("rediss://shop@10.2.0.5:6380/1")),
            (ZoneId(2), server("redis://[::1]:7000")),
        ],
        keys: vec![KeyPattern::parse("cart:{id}:*").expect("a pattern")],
        timeout_ms: 500,
        state_bytes_max: 1 << 20,
    });
    let draft = TableDraft::first(Version { term: 1, n: 1 }, facts, 1_700_000_000_000);
    let table = draft.seal().expect("no faults");
    assert_eq!(PlacementTable::decode(&table.encode()), Ok(table));
}

#[test]
fn a_delta_leads_every_holder_to_the_same_table() {
    let mut author = table();
    let mut holder = table();
    let delta = author.advance(change()).expect("the sample change has no faults");
    let delta = Delta::decode(&delta.encode()).expect("it was just encoded");
    holder.apply(&delta).expect("it starts from this table");
    assert_eq!(holder, author);
    // And the digest carried along by differences is the digest of the whole.
    assert_eq!(PlacementTable::decode(&author.encode()).map(|t| t.digest()), Ok(holder.digest()));
}

#[test]
fn a_delta_that_does_not_fit_changes_nothing() {
    let mut author = table();
    let delta = author.advance(change()).expect("the sample change has no faults");
    let mut holder = table();
    let wrong_base = Delta { base: Version { term: 3, n: 8 }, ..delta.clone() };
    assert!(matches!(holder.apply(&wrong_base), Err(DeltaRefused::Base { .. })));
    let older = Delta { version: Version { term: 2, n: 99 }, ..delta.clone() };
    assert!(matches!(holder.apply(&older), Err(DeltaRefused::Older { .. })));
    let wrong_digest = Delta { digest: delta.digest ^ 1, ..delta.clone() };
    assert!(matches!(holder.apply(&wrong_digest), Err(DeltaRefused::Digest { .. })));
    let mut nowhere = delta;
    nowhere.set.push((SessionKey(6), Home { zone: ZoneId(9), epoch: Epoch(0) }));
    let Err(DeltaRefused::Faults(faults)) = holder.apply(&nowhere) else {
        panic!("a zone the table does not have was accepted");
    };
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(holder, table());
}

#[test]
fn shrinking_the_zones_is_refused_while_something_names_them() {
    let mut table = table();
    let mut fewer = facts();
    fewer.zones.truncate(2);
    fewer.places[0].rtt_us.truncate(2);
    let mut change = Delta::to(Version { term: 3, n: 10 }, 0);
    change.facts = Some(fewer);
    let faults = table.advance(change.clone()).expect_err("buckets still name tokyo");
    assert!(faults.iter().any(|fault| matches!(fault, TableFault::UnknownZone(_))), "{faults:?}");
    change.buckets.push(BucketRun {
        first: Bucket(0),
        count: BUCKETS as u32,
        home: Home { zone: ZoneId(0), epoch: Epoch(2) },
    });
    change.removed.push(SessionKey(1 << 120));
    table.advance(change).expect("nothing names tokyo any more");
}

#[test]
fn two_directives_cannot_move_one_session() {
    let mut table = table();
    let mut change = Delta::to(Version { term: 3, n: 10 }, 0);
    change.directives.push(directive(12, 1 << 120));
    assert!(table.advance(change.clone()).is_err());
    change.withdrawn.push(DirectiveId(11));
    table.advance(change).expect("the earlier one is withdrawn in the same change");
}

#[test]
fn every_fault_of_a_draft_is_told() {
    let mut draft = TableDraft::first(Version::default(), facts(), 0);
    draft.facts.zones.push(zone("paris", 1));
    draft.exceptions.insert(SessionKey(1), Home { zone: ZoneId(200), epoch: Epoch(0) });
    draft.directives.insert(DirectiveId(1), Directive { to: ZoneId(0), ..directive(1, 1) });
    let faults = draft.seal().expect_err("it has five faults");
    assert_eq!(faults.len(), 5, "{faults:#?}");
}

#[test]
fn damage_is_refused_wherever_it_strikes() {
    let sealed = table().encode().to_vec();
    for at in (0..sealed.len()).step_by(997).chain(0..24) {
        let mut damaged = sealed.clone();
        damaged[at] ^= 0x40;
        // Byte 7 is reserved and not read.
        assert!(at == 7 || PlacementTable::decode(&damaged).is_err(), "byte {at}");
    }
    for length in [0, 3, 19, 20, sealed.len() - 1] {
        assert!(PlacementTable::decode(&sealed[..length]).is_err(), "cut to {length}");
    }
    let mut longer = sealed.clone();
    longer.push(0);
    assert!(PlacementTable::decode(&longer).is_err());
    let mut author = table();
    let delta = author.advance(change()).expect("no faults").encode();
    assert!(matches!(PlacementTable::decode(&delta), Err(DecodeFault::Kind { .. })));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut head = envelope::seal(envelope::Kind::Table, b"").to_vec();
    head[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
    assert!(matches!(envelope::open(&head), Err(envelope::EnvelopeFault::TooLarge(u64::MAX))));
}

#[test]
fn pieces_make_the_whole_and_only_in_order() {
    let sealed = bytes::Bytes::from(vec![5; homing_wire::limits::CHUNK_BYTES_MAX * 2 + 17]);
    let version = Version { term: 1, n: 2 };
    let pieces: Vec<Chunk> = chunk::cut(version, &sealed).collect();
    assert_eq!(pieces.len(), 3);
    let mut assembly = chunk::Assembly::default();
    assert_eq!(assembly.push(pieces[0].clone()), Ok(None));
    assert_eq!(assembly.push(pieces[1].clone()), Ok(None));
    assert_eq!(assembly.push(pieces[2].clone()), Ok(Some((version, sealed))));
    assert_eq!(assembly.push(pieces[0].clone()), Ok(None));
    assert!(assembly.push(pieces[2].clone()).is_err());
    assert!(assembly.push(pieces[1].clone()).is_err(), "a gap starts over");
}

#[test]
fn buckets_are_dealt_by_weight_and_spread() {
    let buckets = Buckets::by_weight(&[3, 1, 0]);
    let share = |zone| buckets.owned_by(ZoneId(zone)).count();
    assert_eq!((share(0), share(1), share(2)), (49_152, 16_384, 0));
    let first: Vec<_> = buckets.zones()[..8].to_vec();
    assert_eq!(first.iter().filter(|zone| **zone == 1).count(), 2, "{first:?}");
    assert_eq!(Buckets::by_weight(&[0, 0]).owned_by(ZoneId(1)).count(), 32_768);
    let huge = Buckets::by_weight(&[u64::MAX, u64::MAX]);
    assert_eq!(huge.owned_by(ZoneId(0)).count(), 32_768);
}

#[test]
fn every_message_comes_back_as_it_went() {
    let outcome = |end| {
        FromProxy::Outcome(Outcome { directive: DirectiveId(1), key: SessionKey(2), end, at_ms: 3 })
    };
    let activity = SessionActivity {
        key: SessionKey(1),
        service: ServiceId(0),
        zone: ZoneId(1),
        epoch: Epoch(2),
        place: Some(PlaceId(3)),
        requests: 4,
        bytes: 5,
        latency_us_sum: 6,
        last_seen_ms: 7,
    };
    let sample = ZoneSample {
        zone: ZoneId(1),
        sessions: 2,
        requests: 3,
        errors: 4,
        in_flight: 5,
        p50_us: 6,
        p99_us: 7,
    };
    let figures = HandoffFigures {
        epoch: Epoch(1),
        pause_us: 2,
        held: 3,
        state_bytes: 4,
        cut_bytes: 5,
        rounds: 6,
        total_us: 7,
    };
    let mut up = vec![
        FromProxy::Hello(Hello {
            proxy: "edge-1".to_owned(),
            incarnation: Incarnation(1),
            holds: Version { term: 1, n: 2 },
            digest: 3,
            format: 1,
            gate: None,
            sums: None,
        }),
        FromProxy::Hello(Hello {
            proxy: "gate-paris-1".to_owned(),
            incarnation: Incarnation(1),
            holds: Version { term: 1, n: 2 },
            digest: 3,
            format: 1,
            gate: Some(GateHello {
                zone: "paris".to_owned(),
                http: "10.1.0.1:8081".to_owned(),
                link: "10.1.0.1:7443".to_owned(),
                former: Incarnation(3),
            }),
            sums: Some(Box::new(table().sums())),
        }),
        FromProxy::Renew { seq: 7 },
        FromProxy::Leave { done: true },
        FromProxy::Stalled {
            directive: DirectiveId(1),
            key: SessionKey(9),
            why: UndoneReason::TargetTimeout,
            detail: "no answer".to_owned(),
        },
        FromProxy::Owned { key: SessionKey(9), incarnation: Incarnation(1), epoch: Epoch(2) },
        FromProxy::Heir(Heir {
            key: SessionKey(9),
            zone: ZoneId(1),
            epoch: Epoch(2),
            seq: 7,
            heir: ZoneId(3),
            heir_incarnation: Incarnation(5),
        }),
        FromProxy::Ack { version: Version { term: 1, n: 2 }, digest: 4 },
        FromProxy::Records(RecordBatch {
            incarnation: Incarnation(1),
            seq: 2,
            closed_ms: 3,
            sessions: vec![activity.clone(), SessionActivity { place: None, ..activity }],
            zones: vec![sample],
        }),
        FromProxy::Activated(Activated {
            directive: DirectiveId(1),
            key: SessionKey(2),
            zone: ZoneId(3),
            epoch: Epoch(4),
            incarnation: Incarnation(5),
        }),
        FromProxy::Fenced { directive: DirectiveId(1), incarnation: Incarnation(2) },
        FromProxy::Residence { key: SessionKey(1), zone: ZoneId(2), epoch: Epoch(3) },
        outcome(OutcomeEnd::Completed(figures)),
    ];
    up.extend(
        UndoneReason::ALL.map(|why| {
            outcome(OutcomeEnd::Undone { why, detail: "the app answered 500".to_owned() })
        }),
    );
    up.extend(NackReason::ALL.map(|reason| FromProxy::Nack {
        version: Version { term: 1, n: 2 },
        reason,
        detail: "checksum".to_owned(),
        sums: (reason == NackReason::Invalid).then(|| Box::new(table().sums())),
    }));
    for message in up {
        assert_eq!(FromProxy::from_proto(message.to_proto()), Ok(message));
    }
    let down = [
        ToProxy::Chunk(Chunk {
            version: Version { term: 1, n: 2 },
            index: 0,
            count: 1,
            bytes: bytes::Bytes::from_static(b"abc"),
        }),
        ToProxy::RecordsTaken { seq: 1 },
        ToProxy::FenceQuery {
            directive: DirectiveId(1),
            incarnation: Incarnation(2),
            key: SessionKey(3),
            zone: ZoneId(4),
        },
        ToProxy::Lease { seq: 5, term: 6, ms: 10_000 },
        ToProxy::Own {
            key: SessionKey(1),
            zone: ZoneId(2),
            incarnation: Incarnation(3),
            epoch: Epoch(4),
            keep: true,
            directive: DirectiveId(5),
        },
        ToProxy::Release { directive: DirectiveId(1), key: SessionKey(2), epoch: Epoch(3) },
        ToProxy::OutcomeTaken { directive: DirectiveId(1) },
        ToProxy::HeirKnown { key: SessionKey(1), epoch: Epoch(2), seq: 3 },
    ];
    for message in down {
        assert_eq!(ToProxy::from_proto(message.to_proto()), Ok(message));
    }
}

#[test]
fn an_empty_message_names_what_is_missing() {
    let fault = FromProxy::from_proto(homing_wire::proto::FromProxy { body: None });
    assert_eq!(fault.unwrap_err().to_string(), "from_proxy.body: missing");
}

#[test]
fn sums_of_another_number_of_segments_are_refused() {
    let nack = FromProxy::Nack {
        version: Version { term: 1, n: 2 },
        reason: NackReason::Invalid,
        detail: String::new(),
        sums: Some(Box::new(table().sums())),
    };
    for bytes in [0, 8, 2_047, 2_049, 2_056] {
        let mut message = nack.to_proto();
        let Some(Body::Nack(body)) = &mut message.body else { panic!("{message:?}") };
        body.sums.as_mut().unwrap().segments = vec![1; bytes].into();
        let fault = FromProxy::from_proto(message).unwrap_err();
        assert_eq!(fault.field, "nack.sums", "{fault}");
    }
}

fn any_home() -> impl Strategy<Value = Home> {
    (0_u8..3, 1_u64..1_000_000)
        .prop_map(|(zone, epoch)| Home { zone: ZoneId(zone), epoch: Epoch(epoch) })
}

fn any_change() -> impl Strategy<Value = Delta> {
    let runs = prop::collection::vec((any::<u16>(), 1_u32..500, any_home()), 0..6);
    let set = prop::collection::vec((0_u128..64, any_home()), 0..40);
    let removed = prop::collection::vec(0_u128..64, 0..20);
    let moved = prop::collection::btree_map(0_u64..12, 0_u128..1_000_000, 0..6);
    let withdrawn = prop::collection::vec(0_u64..12, 0..6);
    (runs, set, removed, moved, withdrawn).prop_map(|(runs, set, removed, moved, withdrawn)| {
        Delta {
            buckets: runs
                .into_iter()
                .map(|(first, count, home)| BucketRun {
                    first: Bucket(first),
                    count: count.min((BUCKETS - usize::from(first)) as u32),
                    home,
                })
                .collect(),
            set: set.into_iter().map(|(key, home)| (SessionKey(key << 100), home)).collect(),
            removed: removed.into_iter().map(|key| SessionKey(key << 100)).collect(),
            directives: moved.into_iter().map(|(id, key)| directive(id, key)).collect(),
            withdrawn: withdrawn.into_iter().map(DirectiveId).collect(),
            ..Delta::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a table was reached, its digest is that of its content, and a holder that follows
    /// by deltas ends where one that loads the whole table does.
    #[test]
    fn following_deltas_equals_loading_the_table(
        changes in prop::collection::vec(any_change(), 1..6),
    ) {
        let mut author = table();
        let mut holder = table();
        for mut change in changes {
            change.version = author.version().next();
            // A change that two directives of one session make impossible is refused whole.
            let before = author.clone();
            match author.advance(change) {
                Ok(delta) => holder.apply(&Delta::decode(&delta.encode()).unwrap()).unwrap(),
                Err(_) => prop_assert_eq!(&author, &before),
            }
        }
        prop_assert_eq!(&holder, &author);
        prop_assert_eq!(PlacementTable::decode(&author.encode()), Ok(author));
    }

    #[test]
    fn decoding_noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = PlacementTable::decode(&noise);
        let _ = Delta::decode(&noise);
        let _ = PlacementTable::decode(&envelope::seal(envelope::Kind::Table, &noise));
        let _ = Delta::decode(&envelope::seal(envelope::Kind::Delta, &noise));
    }
}

#[test]
fn link_frames_survive_the_way_there_and_back_and_damage_is_refused() {
    let payload = Payload { since: 3, version: 9, whole: false, present: true, bytes: 1 << 24 };
    let frames = [
        LinkFrame::Open(Box::new(Open {
            directive: DirectiveId(4),
            key: SessionKey(5),
            to_incarnation: Incarnation(6),
            epoch: Epoch(7),
            from: "paris".to_owned(),
            to: "oregon".to_owned(),
            tenant: "default".to_owned(),
            service: "shop".to_owned(),
            hot: bytes::Bytes::from_static(b"what only the prewarmer reads"),
        })),
        LinkFrame::Stage(payload),
        LinkFrame::StageAck { version: 9, p95_us: 1_200 },
        LinkFrame::Refused { why: UndoneReason::ImportRefused, detail: "OOM".to_owned() },
        LinkFrame::Grant { payload, window_bytes: 25 },
        LinkFrame::GrantAck { applied_us: 800 },
        LinkFrame::Mirror(Box::new(Mirror {
            key: SessionKey(9),
            epoch: Epoch(2),
            from: "paris".to_owned(),
            to: "tokyo".to_owned(),
            tenant: "default".to_owned(),
            service: "shop".to_owned(),
        })),
        LinkFrame::Replica { payload: Payload::default(), window_bytes: 9, since: 1, version: 3 },
        LinkFrame::Kept { incarnation: Incarnation(4), version: 3 },
    ];
    for frame in frames {
        let bytes = frame.encode();
        let (length, head) = bytes.split_first_chunk::<4>().unwrap();
        assert_eq!(LinkFrame::length(*length), Ok(head.len()));
        assert_eq!(LinkFrame::decode(head), Ok(frame));
        assert!(LinkFrame::decode(&head[..head.len() - 1]).is_err());
    }
    assert!(matches!(LinkFrame::length([1, 0, 0, 0]), Err(LinkFault::TooLong(_))));
    let absent = Payload { present: false, ..payload };
    let claims_bytes = LinkFrame::Stage(absent).encode();
    assert!(LinkFrame::decode(&claims_bytes[4..]).is_err());
}
