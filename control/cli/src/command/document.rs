//! `homing push` and `config show`: the document of zones, services, places and policy.

use std::path::Path;

use homing_wire::document::Document;
use http::Method;
use serde_json::Value;

use super::peers::{Peers, count, items, print_json, text};
use crate::args::{DocumentOutput, Output, PushArgs, ShowArgs};
use crate::rest::Ask;
use crate::trouble::Trouble;

/// Sends a document to control. It is checked here first, where its lines can be shown.
///
/// # Errors
/// Exit 78 for a document with faults; 1 if control refuses it.
pub async fn push(args: &PushArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let control = peers.control()?;
    let yaml = read(&args.file)?;
    let path = if args.dry_run { "/v1/document?dryRun=true" } else { "/v1/document" };
    let mut ask = Ask::send(Method::PUT, path).body("application/yaml", yaml);
    let etag = match &args.if_match {
        Some(etag) => Some(etag.clone()),
        // Without a condition of the caller's: what is in force at this moment.
        None => {
            let now = control.raw(Ask::get("/v1/document")).await?;
            now.header("etag").filter(|_| now.status.is_success()).map(str::to_owned)
        }
    };
    if let Some(etag) = etag {
        ask = ask.header("if-match", etag);
    }
    let pushed = control.ask(ask).await?.json()?;
    if args.ask.output == Output::Json {
        return print_json(&pushed);
    }
    print!("{}", told(&pushed, args.dry_run));
    Ok(())
}

fn read(file: &Path) -> Result<String, Trouble> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Trouble::failure(format!("cannot read {shown}: {error}")))?;
    // A proxy's own file holds the same sections beside its settings: those alone are sent.
    let document = match super::check::Kind::of(&text) {
        super::check::Kind::Proxy => {
            let others = [
                "name",
                "listen",
                "admin",
                "control",
                "state_dir",
                "secrets",
                "jwt_keys",
                "access_log",
                "limits",
                "trusted_peers",
                "expose_zone",
                "drain",
            ];
            Document::parse_among(&text, &others).map(|(document, _)| document)
        }
        _ => Document::parse(&text),
    };
    let document = document.map_err(|faults| Trouble::config(faults.render(&shown), ""))?;
    serde_yaml::to_string(&document.to_node())
        .map_err(|error| Trouble::failure(format!("cannot write {shown} as YAML: {error}")))
}

fn told(pushed: &Value, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    if pushed["changed"] != true {
        return format!("nothing {would}changed: this document is in force already\n");
    }
    let names = |name: &str| -> Vec<&str> {
        items(pushed, name).iter().filter_map(Value::as_str).collect()
    };
    let mut out = match dry_run {
        true => "the document would be taken\n".to_owned(),
        false => format!("the document is in force: table {}\n", text(pushed, "table_version")),
    };
    for (what, list) in [("new", names("zones_added")), ("leaving", names("zones_leaving"))] {
        if !list.is_empty() {
            out += &format!("  zones {what}: {}\n", list.join(", "));
        }
    }
    out + &format!(
        "  buckets moved: {} of 65536; sessions that keep their home all the same: {}\n",
        count(pushed, "buckets_moved"),
        count(pushed, "sessions_pinned")
    )
}

/// Prints the document in force.
///
/// # Errors
/// If control does not answer or holds none.
pub async fn show(args: &ShowArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.peer)?;
    let control = peers.control()?;
    let kind = match args.output {
        DocumentOutput::Yaml => "application/yaml",
        DocumentOutput::Json => "application/json",
    };
    let reply = control.ask(Ask::get("/v1/document").header("accept", kind)).await?;
    print!("{}", reply.text());
    if !reply.body.ends_with(b"\n") {
        println!();
    }
    Ok(())
}
