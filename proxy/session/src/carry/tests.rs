use proptest::prelude::*;

use super::*;

/// A frame of this opcode and payload.
fn frame(fin: bool, opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![if fin { 0x80 } else { 0 } | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(mask | length as u8),
        length @ 126..=0xffff => {
            frame.push(mask | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(mask | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let key = [1, 2, 3, 4];
    if masked {
        frame.extend(key);
    }
    let byte = |(n, byte): (usize, &u8)| if masked { byte ^ key[n % 4] } else { *byte };
    frame.extend(payload.iter().enumerate().map(byte));
    frame
}

fn all(scanner: &mut Scanner, bytes: &[u8], piece: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    for chunk in bytes.chunks(piece) {
        let mut input = Bytes::copy_from_slice(chunk);
        while let Some(part) = scanner.next(&mut input).unwrap() {
            parts.push(part);
        }
        assert!(input.is_empty());
    }
    parts
}

#[test]
fn messages_end_where_their_last_frame_does_and_control_frames_come_between() {
    let stream = [
        frame(false, 1, b"one ", true),
        frame(true, 9, b"ping", true),
        frame(true, 0, b"message", true),
        frame(true, 2, b"", true),
    ];
    for piece in [1, 2, 5, 1_000] {
        let mut scanner = Scanner::default();
        let parts = all(&mut scanner, &stream.concat(), piece);
        assert_eq!(parts.iter().filter(|part| part.ends_message).count(), 2);
        let ping = parts.iter().find(|part| part.opcode == 9).unwrap();
        assert_eq!((&ping.bytes[..], &ping.payload[..]), (&stream[1][..], &b"ping"[..]));
        let passed: Vec<u8> = parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
        assert_eq!(passed, stream.concat());
        assert!(scanner.at_boundary());
    }
    let mut scanner = Scanner::default();
    all(&mut scanner, &stream[0], 100);
    assert!(!scanner.at_boundary(), "the message goes on");
}

#[test]
fn what_is_no_websocket_is_refused() {
    for bytes in
        [frame(true, 3, b"", true), frame(false, 9, b"", true), frame(true, 8, &[0; 126], true)]
    {
        assert!(Scanner::default().next(&mut Bytes::from(bytes)).is_err());
    }
}

#[test]
fn words_survive_their_frames() {
    let moved = Word::Moved { epoch: Epoch(9), client: Some(120) };
    let unsure = Word::Moved { epoch: Epoch(9), client: None };
    let (pause, paused) = (Word::Pause { turn: 7 }, Word::Paused { turn: u32::MAX });
    for word in [pause, paused, Word::Resume, moved, unsure] {
        let mut bytes = word.frame("paris");
        let part = Scanner::default().next(&mut bytes).unwrap().unwrap();
        assert_eq!(part.opcode, OURS);
        let zone = if matches!(word, Word::Moved { .. }) { "paris" } else { "" };
        assert_eq!(Word::read(&part.payload), Some((word, zone)));
    }
    for odd in [&b"moved"[..], b"moved x;y;z", b"pause", b"paused x", b"stop", b"\xff"] {
        assert_eq!(Word::read(odd), None);
    }
}

#[test]
fn the_last_messages_can_be_given_again() {
    let mut recent = Progress::default();
    let mut scanner = Scanner::default();
    let mut say = |recent: &mut Progress, length: usize| {
        let bytes = frame(true, 2, &vec![7; length], true);
        all(&mut scanner, &bytes, 1_000).iter().for_each(|part| recent.said(part));
        Bytes::from(bytes)
    };
    let first = say(&mut recent, 10);
    let second = say(&mut recent, 20_000);
    assert_eq!(recent.lacks(Some(2), false), Some(Vec::new()));
    assert_eq!(recent.lacks(Some(0), false), Some(vec![first, second.clone()]));
    say(&mut recent, 60_000);
    assert_eq!(recent.lacks(Some(1), false), None, "it had to make room");
    assert_eq!(recent.lacks(Some(2), false).map(|kept| kept.len()), Some(1));
    say(&mut recent, 100_000);
    assert_eq!(
        (recent.client(), recent.lacks(Some(3), false), recent.lacks(Some(4), false)),
        (4, None, Some(Vec::new()))
    );
    assert_eq!(recent.lacks(Some(5), false), None, "nobody can know more than was sent");
}

#[test]
fn the_message_under_way_is_given_again_as_far_as_it_went() {
    let (mut recent, mut scanner) = (Progress::default(), Scanner::default());
    let whole = frame(true, 2, &[7; 10], true);
    let begun = [frame(false, 2, &[7; 10], true), frame(true, 0, &[8; 70_000], true)].concat();
    all(&mut scanner, &whole, 1_000).iter().for_each(|part| recent.said(part));
    assert!(scanner.is_between_messages());
    all(&mut scanner, &begun[..16], 1_000).iter().for_each(|part| recent.said(part));
    assert!(scanner.is_between_frames() && !scanner.is_between_messages());
    all(&mut scanner, &begun[16..40], 1_000).iter().for_each(|part| recent.said(part));
    assert!(!scanner.is_between_frames());
    let again = recent.lacks(Some(0), false).unwrap();
    assert_eq!(again, [&whole[..], &begun[..40]], "joined anywhere else, it would be torn");
    all(&mut scanner, &begun[40..70_000], 1_000).iter().for_each(|part| recent.said(part));
    assert_eq!(recent.lacks(Some(1), false), None, "too large to be kept");
}

proptest! {
    #[test]
    fn every_byte_is_passed_on_once_whatever_the_pieces(
        messages in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..300), 1_usize..4),
            1..20,
        ),
        piece in 1_usize..500,
    ) {
        let mut stream = Vec::new();
        for (payload, fragments) in &messages {
            let size = payload.len().div_ceil(*fragments).max(1);
            let chunks: Vec<_> = payload.chunks(size).collect();
            let chunks = if chunks.is_empty() { vec![&[][..]] } else { chunks };
            for (n, chunk) in chunks.iter().enumerate() {
                let opcode = if n == 0 { 1 } else { 0 };
                stream.extend(frame(n + 1 == chunks.len(), opcode, chunk, true));
            }
        }
        let mut scanner = Scanner::default();
        let parts = all(&mut scanner, &stream, piece);
        let passed: Vec<u8> = parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
        prop_assert_eq!(passed, stream);
        prop_assert_eq!(parts.iter().filter(|part| part.ends_message).count(), messages.len());
        prop_assert!(scanner.at_boundary());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut input = Bytes::from(bytes);
        let mut scanner = Scanner::default();
        while let Ok(Some(_)) = scanner.next(&mut input) {}
    }
}

/// A gate's machine in the middle of nothing.
fn gate() -> Relay {
    let mut gate = Relay::new(Progress::default());
    gate.begin(Ends { from_edge: true, to_gate: false }, 100);
    gate
}

/// A pause that is not answered in time; what the gate makes of that.
fn missed(gate: &mut Relay, from_ms: u64) -> Option<Act> {
    assert!(gate.recall(from_ms).is_some());
    assert_eq!(gate.poll(from_ms + 99), None);
    assert_eq!(gate.deadline(), Some(from_ms + 100));
    gate.late()
}

#[test]
fn a_pause_that_is_missed_twice_in_a_row_is_not_asked_for_again() {
    let resume = Some(Act::ToClient { bytes: Word::Resume.frame(""), messages: 0 });
    let cut = Some(Act::Ended(Ended::Cut { confirmed: false }));
    let mut gate = gate();
    assert_eq!(missed(&mut gate, 0), resume);
    // An answer, too late as it may be, shows that somebody is there.
    gate.client_said(control(OURS, b"paused 1", true));
    assert_eq!(gate.poll(150), None);
    assert_eq!(missed(&mut gate, 200), resume);
    assert_eq!(missed(&mut gate, 400), cut);
    assert_eq!(gate.poll(600), None, "the leg is over");
    gate.begin(Ends { from_edge: true, to_gate: false }, 100);
    assert_eq!(missed(&mut gate, 800), resume, "another leg begins at nothing");
}

#[test]
fn who_is_in_the_middle_of_a_message_has_not_missed_the_pause() {
    let resume = Some(Act::ToClient { bytes: Word::Resume.frame(""), messages: 0 });
    let mut gate = gate();
    gate.client_said(Bytes::from(frame(false, 2, &[1; 50], true)));
    assert!(matches!(gate.poll(0), Some(Act::ToApp { .. })));
    for n in 0..5 {
        let from_ms = 200 * n;
        assert!(gate.recall(from_ms).is_some());
        gate.client_said(Bytes::from(frame(false, 0, &[2; 50], true)));
        assert!(matches!(gate.poll(from_ms + 50), Some(Act::ToApp { .. })));
        assert_eq!(gate.late(), resume);
    }
    // Nothing more comes: it may be in the middle for ever.
    assert_eq!(missed(&mut gate, 2_000), resume);
    assert_eq!(missed(&mut gate, 2_200), Some(Act::Ended(Ended::Cut { confirmed: false })));
}
