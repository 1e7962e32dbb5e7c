//! `homing forecast`: what control foresees of a zone or a user, and what that rests on.

use serde_json::Value;

use super::peers::{Peers, items, print_json, text};
use crate::{
    args::{By, ForecastArgs, Output},
    sheet::{right, sheet},
    trouble::Trouble,
};

/// Values that are listed of a longer forecast.
const LISTED: usize = 12;
/// Models that are named.
const NAMED: usize = 4;

/// Shows it.
///
/// # Errors
/// If control does not answer, or has nothing to say of it.
pub async fn run(args: &ForecastArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let control = peers.control()?;
    let by = if args.by == By::Hour { "hour" } else { "step" };
    let mut query = format!("resource={}&by={by}", args.resource);
    if let Some(service) = &args.service {
        query += &format!("&service={service}");
    }
    let path = match (&args.user, &args.zone) {
        (Some(user), _) => format!("/v1/users/{user}/resourceForecast?{query}"),
        (None, zone) => format!("/v1/zones/{}/forecast?{query}", zone.as_deref().unwrap_or("")),
    };
    let told = control.get_json(&path).await?;
    if args.ask.output == Output::Json {
        return print_json(&told);
    }
    match items(&told, "resources") {
        [] => show(&told),
        forecasts => {
            let share = told["share"].as_f64().unwrap_or_default() * 100.0;
            println!(
                "user {} lives in {} and is {share:.3} % of {}'s demand there\n",
                text(&told, "user"),
                text(&told, "zone"),
                text(&told, "service"),
            );
            forecasts.iter().for_each(show);
        }
    }
    Ok(())
}

fn show(told: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let of = told["service"].as_str().map_or(String::new(), |service| format!(" of {service}"));
    println!("{}{of} in {}, {}", text(told, "resource"), text(told, "zone"), text(told, "unit"));
    println!(
        "observed   {} steps until {}, {:.1} s ago",
        told["observations"],
        text(told, "observed_until"),
        number(&told["data_age_ms"]) / 1e3,
    );
    let models = items(told, "weights")
        .iter()
        .take(NAMED)
        .map(|model| format!("{} {:.0} %", text(model, "model"), number(&model["weight"]) * 100.0));
    println!("models     {}", models.collect::<Vec<_>>().join(", "));
    for coverage in items(told, "coverage") {
        let promised = number(&coverage["promised"]) * 100.0;
        let note = match (coverage["truths"].as_u64(), coverage["broken"].as_bool()) {
            (None | Some(0), _) => "has had no truth to hold yet".to_owned(),
            (Some(truths), broken) => format!(
                "held {:.1} % of {truths}{}",
                number(&coverage["seen"]) * 100.0,
                if broken == Some(true) { ", too few: it is widened" } else { "" }
            ),
        };
        println!("band       {promised:.0} % {note}");
    }
    let mut table = sheet(&["at", "value", "80 % from", "to", "95 % from", "to"]);
    let values = items(told, "values");
    let every = values.len().div_ceil(LISTED).max(1);
    for value in values.iter().step_by(every) {
        let cell = |value: &Value| right(format!("{:.2}", number(value)));
        table.add_row(vec![
            text(value, "at").into(),
            cell(&value["value"]),
            cell(&value["band80"][0]),
            cell(&value["band80"][1]),
            cell(&value["band95"][0]),
            cell(&value["band95"][1]),
        ]);
    }
    anstream::println!("{table}\n");
}
