use super::*;

fn write_pair(folder: &Path, stem: &str, names: &[&str]) -> CertFiles {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let files = CertFiles {
        cert: folder.join(format!("{stem}.pem")),
        key: folder.join(format!("{stem}.key")),
    };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

fn leaf(store: &CertStore, name: Option<&str>) -> Vec<u8> {
    store.current.load().find(name).cert[0].to_vec()
}

fn leaf_of(files: &CertFiles) -> Vec<u8> {
    CertificateDer::from_pem_file(&files.cert).unwrap().to_vec()
}

#[test]
fn the_name_asked_for_picks_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_pair(folder.path(), "first", &["first.example"]);
    let wild = write_pair(folder.path(), "wild", &["*.shop.example", "shop.example"]);
    let store = CertStore::load(&[first.clone(), wild.clone()]).unwrap();
    assert_eq!(leaf(&store, None), leaf_of(&first));
    assert_eq!(leaf(&store, Some("unknown.example")), leaf_of(&first));
    assert_eq!(leaf(&store, Some("SHOP.example")), leaf_of(&wild));
    assert_eq!(leaf(&store, Some("a.shop.example")), leaf_of(&wild));
    // A wildcard covers one label, not two.
    assert_eq!(leaf(&store, Some("a.b.shop.example")), leaf_of(&first));
}

#[test]
fn a_reload_swaps_and_a_broken_one_keeps_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_pair(folder.path(), "one", &["one.example"]);
    let store = CertStore::load(std::slice::from_ref(&files)).unwrap();
    let before = leaf(&store, None);
    let again = write_pair(folder.path(), "one", &["one.example"]);
    store.reload(std::slice::from_ref(&again)).unwrap();
    let after = leaf(&store, None);
    assert_ne!(before, after);
    std::fs::write(&files.cert, "no certificate").unwrap();
    assert!(store.reload(&[files]).is_err());
    assert_eq!(leaf(&store, None), after);
}

#[test]
fn what_cannot_be_used_is_refused_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let one = write_pair(folder.path(), "one", &["one.example"]);
    let two = write_pair(folder.path(), "two", &["two.example"]);
    let crossed = CertFiles { cert: one.cert.clone(), key: two.key };
    assert!(matches!(CertStore::load(&[crossed]), Err(CertFault::Unusable { .. })));
    let missing = CertFiles { key: folder.path().join("absent.key"), ..one };
    let fault = CertStore::load(&[missing]).unwrap_err().to_string();
    assert!(fault.contains("absent.key"), "{fault}");
    assert!(matches!(CertStore::load(&[]), Err(CertFault::Count(0))));
}
