use proptest::prelude::*;

use super::*;

fn object(path: &str) -> HotObject {
    HotObject {
        tls: true,
        host: "shop.example".to_owned(),
        path: path.to_owned(),
        headers: vec![("accept-language", "fr, en;q=0.5".to_owned())],
    }
}

fn refused(change: impl FnOnce(&mut proto::HotObject)) -> String {
    let mut message = to_proto(&object("/a"));
    change(&mut message);
    let list = proto::HotList { objects: vec![message] };
    decode(&list.encode_to_vec()).unwrap_err().to_string()
}

#[test]
fn what_was_written_is_read() {
    let objects = [object("/a?x=1"), object("/b")];
    let (bytes, kept) = encode(&objects);
    assert_eq!((kept, decode(&bytes).unwrap()), (2, objects.to_vec()));
    assert_eq!(decode(&[]).unwrap(), []);
}

#[test]
fn a_list_that_is_too_long_is_refused_whole_and_says_why() {
    let many = vec![to_proto(&object("/a")); HOT_OBJECTS_MAX + 1];
    let list = proto::HotList { objects: many }.encode_to_vec();
    let told = decode(&list).unwrap_err().to_string();
    assert_eq!(told, "hot_list.objects: 257 items, at most 256");
    let told = decode(&vec![0; HOT_LIST_BYTES_MAX + 1]).unwrap_err().to_string();
    assert_eq!(told, "a list of hot objects of 49153 bytes, at most 49152 are taken");
}

#[test]
fn what_could_smuggle_a_request_or_a_secret_is_refused() {
    let header = |name: &str, value: &str| proto::hot_object::Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    for name in ["authorization", "cookie", "homing-session", "x-api-key"] {
        let told = refused(|object| object.headers.push(header(name, "x")));
        assert!(told.contains("no header that may travel"), "{name}: {told}");
    }
    let told = refused(|object| object.headers.push(header("accept", "a\r\ncookie: b")));
    assert!(told.contains("not a header's value"), "{told}");
    for path in ["a", "", "/a b", "/a\r\nx: y", "/\u{e4}"] {
        let told = refused(|object| object.path = path.to_owned());
        assert!(told.starts_with("hot_object.path: not a path"), "{path:?}: {told}");
    }
    assert!(refused(|o| o.host = "a\nb".to_owned()).starts_with("hot_object.host"));
    assert!(refused(|o| o.host = String::new()).starts_with("hot_object.host"));
    assert!(refused(|o| o.path = format!("/{}", "x".repeat(2_048))).contains("2049 bytes"));
    let told = refused(|o| o.headers = vec![header("accept", "x"); HEADERS_MAX + 1]);
    assert!(told.contains("25 headers"), "{told}");
}

proptest! {
    #[test]
    fn the_first_objects_that_fit_travel(lengths in prop::collection::vec(1_usize..2_000, 0..400)) {
        let objects: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(n, length)| object(&format!("/{n}/{}", "x".repeat(*length))))
            .collect();
        let (bytes, kept) = encode(&objects);
        prop_assert!(bytes.len() <= HOT_LIST_BYTES_MAX);
        prop_assert_eq!(decode(&bytes).unwrap(), objects[..kept].to_vec());
        let all = objects.len().min(HOT_OBJECTS_MAX);
        prop_assert!(kept == all || bytes.len() + 2_200 > HOT_LIST_BYTES_MAX);
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
    }
}
