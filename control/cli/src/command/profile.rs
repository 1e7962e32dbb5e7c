//! `homing profile`: what control has learnt of a user, and forgetting it.

use http::Method;

use super::peers::{Peers, belonging, items, print_json, text};
use crate::{
    args::{Output, ProfileArgs},
    rest::Ask,
    sheet::sheet,
    trouble::Trouble,
};

/// Shows it, or has it forgotten.
///
/// # Errors
/// If control does not answer, or knows nothing of the user.
pub async fn run(args: &ProfileArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let control = peers.control()?;
    let key = peers.session_key(&args.key).await?;
    let path = format!("/v1/users/{key}");
    if args.forget {
        control.ask(Ask::send(Method::DELETE, &path)).await?;
        println!("control knows nothing of {key} any more; a further request begins a new profile");
        return Ok(());
    }
    let told = control.get_json(&path).await?;
    if args.ask.output == Output::Json {
        return print_json(&told);
    }
    println!(
        "{}\nlives in   {} at epoch {}, since {}\nservice    {}, client {}\n\
         asks       {:.3} times a second for {:.0} bytes, last at {}",
        text(&told, "user"),
        text(&told, "zone"),
        told["epoch"],
        text(&told, "since"),
        told["service"].as_str().unwrap_or("of a document that is gone"),
        told["place"].as_str().unwrap_or("in a place that is not known"),
        told["requests_per_second"].as_f64().unwrap_or_default(),
        told["bytes_per_request"].as_f64().unwrap_or_default(),
        text(&told, "last_seen"),
    );
    if let Some(heir) = told["heir"].as_str() {
        println!("replica    in {heir}");
    }
    anstream::println!("\n{}\n", belonging(&told));
    let moves = items(&told, "moves");
    if moves.is_empty() {
        println!("moves      none");
        return Ok(());
    }
    let mut table = sheet(&["moved", "from", "to", "why", ""]);
    for moved in moves {
        let done = moved["completed"].as_bool() == Some(true);
        table.add_row(vec![
            text(moved, "ended"),
            text(moved, "from"),
            text(moved, "to"),
            text(moved, "reason"),
            if done { "" } else { "undone" },
        ]);
    }
    anstream::println!("\n{table}");
    Ok(())
}
