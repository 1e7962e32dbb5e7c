//! `homing audit`: who asked control to change what, with what became of it.

use super::peers::{Peers, items, print_json, text};
use crate::{
    args::{AuditArgs, Output},
    sheet::{right, sheet},
    trouble::Trouble,
};

/// Shows the newest entries.
///
/// # Errors
/// If control does not answer, or the token is no operator's.
pub async fn run(args: &AuditArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let mut path = format!("/v1/audit?limit={}", args.limit);
    if let Some(before) = args.before {
        path += &format!("&cursor={before}");
    }
    let told = peers.control()?.get_json(&path).await?;
    if args.ask.output == Output::Json {
        return print_json(&told);
    }
    let mut table = sheet(&["no", "at", "caller", "tenants", "change", "outcome", "status", "key"]);
    for entry in items(&told, "entries") {
        let tenants: Vec<&str> =
            items(entry, "tenants").iter().filter_map(|tenant| tenant.as_str()).collect();
        table.add_row(vec![
            right(entry["seq"].to_string()),
            text(entry, "at").into(),
            text(entry, "caller").into(),
            tenants.join(" ").into(),
            format!("{} {}", text(entry, "method"), text(entry, "path")).into(),
            text(entry, "outcome").into(),
            right(entry["status"].to_string()),
            text(entry, "idempotency_key").into(),
        ]);
    }
    anstream::println!("{table}");
    if let Some(next) = told["next"].as_u64() {
        println!("older: homing audit --before {next}");
    }
    Ok(())
}
