//! Whom a command asks: control if its address is given, else the proxy, which decides for itself
//! when it runs without control.

use comfy_table::Table;
use http::Method;
use serde_json::Value;

use crate::args::{KeyArgs, PeerArgs};
use crate::rest::{Ask, Peer, Rest};
use crate::sheet::{right, sheet};
use crate::trouble::Trouble;

/// Both sides, as far as their addresses are known.
#[derive(Clone, Debug)]
pub struct Peers {
    /// A proxy's admin side.
    pub proxy: Rest,
    /// Control.
    pub control: Option<Rest>,
}

impl Peers {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// If an address cannot be one.
    pub fn new(args: &PeerArgs) -> Result<Self, Trouble> {
        let token = || args.token.clone();
        let control = args.control.as_ref().map(|url| Rest::new(Peer::Control, url, token()));
        Ok(Self {
            proxy: Rest::new(Peer::Proxy, &args.admin, token())?,
            control: control.transpose()?,
        })
    }

    /// Control, for what only control can do.
    ///
    /// # Errors
    /// If its address is not given.
    pub fn control(&self) -> Result<&Rest, Trouble> {
        self.control.as_ref().ok_or_else(|| {
            Trouble::usage(
                "this needs control, and its address is not given",
                "name it with --control http://127.0.0.1:7601 or HOMING_CONTROL",
            )
        })
    }

    /// The session key of a session that is known by its key, a cookie's value or a raw key.
    ///
    /// # Errors
    /// If it is none of them, or the proxy that knows the secret does not answer.
    pub async fn session_key(&self, args: &KeyArgs) -> Result<String, Trouble> {
        let key = args.key.trim();
        let is_hex = key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit());
        if is_hex && args.service.is_none() {
            return Ok(key.to_ascii_lowercase());
        }
        // Sent in the body: raw keys are names of people, and a URL ends up in logs.
        let body = match &args.service {
            Some(service) => serde_json::json!({ "service": service, "raw": key }),
            None => serde_json::json!({ "cookie": cookie_value(key) }),
        };
        let reply = self.proxy.ask(Ask::send(Method::POST, "/key").json(&body)).await;
        let reply = reply.map_err(|trouble| match args.service {
            None if trouble.remedy.is_empty() => trouble.remedy(
                "KEY is 32 hex digits, a session cookie's value, or with --service a raw key",
            ),
            _ => trouble,
        })?;
        let session = reply.json()?["session"].as_str().map(str::to_owned);
        session.ok_or_else(|| Trouble::failure("the proxy's answer names no session"))
    }
}

/// A text of an answer, or nothing.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The items of a list in an answer.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A number of an answer, or a dash.
pub(super) fn count(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Number(n) => n.to_string(),
        _ => "-".to_owned(),
    }
}

/// Microseconds of an answer as milliseconds.
pub(super) fn ms(value: &Value, name: &str) -> String {
    value[name].as_f64().map_or_else(|| "-".to_owned(), |us| format!("{:.2}", us / 1e3))
}

/// How much a user belongs to each zone, as a table.
pub(super) fn belonging(value: &Value) -> Table {
    let mut table = sheet(&[
        "belongs to",
        "score",
        "affinity",
        "near",
        "predicted",
        "data",
        "history",
        "next there",
    ]);
    let share = |of: &Value, name: &str| {
        right(of[name].as_f64().map_or_else(|| "-".to_owned(), |share| format!("{share:.2}")))
    };
    for zone in items(value, "affinity") {
        let soon = |ahead: &Value| {
            let percent = ahead["chance"].as_f64().unwrap_or_default() * 100.0;
            format!("{percent:.0} %")
        };
        let ahead: Vec<String> = items(zone, "ahead").iter().map(soon).collect();
        table.add_row(vec![
            text(zone, "zone").into(),
            right(zone["score"].as_f64().map_or_else(|| "-".to_owned(), |s| format!("{s:.0}"))),
            share(zone, "affinity"),
            share(zone, "latency"),
            share(zone, "predicted"),
            share(zone, "data"),
            share(zone, "history"),
            right(ahead.join(", ")),
        ]);
    }
    table
}

/// Prints an answer for programs.
pub(super) fn print_json(value: &Value) -> Result<(), Trouble> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Trouble::failure(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// The value of `name=value`, as a cookie jar shows it. A value alone is itself: Homing's cookies
/// are base64 without padding, so a `=` within can only follow a name.
fn cookie_value(text: &str) -> &str {
    let named = text.split_once('=').filter(|(name, value)| {
        !value.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    });
    named.map_or(text, |(_, value)| value)
}
