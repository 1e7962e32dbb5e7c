use super::*;

fn line(n: u64) -> Line {
    Line { at_ms: n, method: "GET".to_owned(), path: "/a\"b\n".to_owned(), ..Line::default() }
}

fn read(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_is_one_json_object_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, writer) = AccessLog::open(Destination::File(path.clone())).unwrap();
    (0..500).for_each(|n| log.write(line(n)));
    assert_eq!(log.dropped(), 0);
    drop(log);
    writer.finish();
    let lines = read(&path);
    assert!(lines.iter().map(|line| line["at_ms"].as_u64().unwrap()).eq(0..500));
    assert!(lines[0].get("zone").is_none());
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let (log, writer) = AccessLog::open(Destination::File(path.clone())).unwrap();
    log.write(line(1));
    // The writer flushes within half a second; only then is the line in the file to be moved.
    while std::fs::metadata(&path).unwrap().len() == 0 {
        std::thread::yield_now();
    }
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    log.write(line(2));
    drop(log);
    writer.finish();
    let count = |path| read(path).len();
    assert_eq!(count(&moved) + count(&path), 2);
    assert_eq!(read(&path).last().unwrap()["at_ms"], 2);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (queue, lines) = sync_channel(2);
    let log = AccessLog { queue, dropped: Arc::default(), reopen: Arc::default() };
    (0..5).for_each(|n| log.write(line(n)));
    assert_eq!(log.dropped(), 3);
    drop(lines);
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(cut("short"), "short");
    let long = "ä".repeat(400);
    let kept = cut(&long);
    assert!(kept.len() <= TEXT_BYTES_MAX && long.starts_with(&kept));
}
