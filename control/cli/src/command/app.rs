//! `homing app`: the notebook of one zone, or one for each endpoint of a proxy's configuration.

use std::path::Path;

use crate::app::redis::{self, RedisApp};
use crate::app::{App, AppSettings, Distances, listen, serve};
use crate::args::AppArgs;
use crate::demo::world::RTT;
use crate::trouble::Trouble;

/// Runs until it is ended.
///
/// # Errors
/// If an address cannot be listened on or a file cannot be read.
pub async fn run(args: AppArgs) -> Result<(), Trouble> {
    let table = args.delays.as_deref().map(delays).transpose()?;
    let wanted = match (&args.config, &args.zone) {
        (Some(file), _) => from_config(file)?,
        (None, Some(zone)) => vec![(zone.clone(), args.listen.to_string())],
        (None, None) => return Err(Trouble::usage("which zone?", "give --zone NAME")),
    };
    for (zone, address) in wanted {
        let distances = match &table {
            Some(table) => Distances::read(table, &zone).map_err(|e| Trouble::config(e, ""))?,
            None => Distances::default(),
        };
        let app = App::new(AppSettings {
            zone: zone.clone(),
            distances,
            place_header: args.place_header.clone(),
            work: args.work,
            places: args.places,
            item_work: args.item_work,
        });
        if let Some(url) = &args.redis {
            let app = RedisApp::connect(zone.clone(), url).await.map_err(|error| {
                Trouble::unavailable(format!("the store {url}: {error}"), "is it running?")
            })?;
            let (listener, address) = listen(&address).await?;
            tokio::spawn(redis::serve(app, listener));
            println!("the notebook of zone {zone} listens on {address}");
            continue;
        }
        let (listener, address) = listen(&address).await.map_err(|error| {
            Trouble::unavailable(format!("cannot listen on {address}: {error}"), "is it taken?")
        })?;
        tokio::spawn(serve(app, listener));
        // The first line is read by whoever started the app on port 0.
        println!("the notebook of zone {zone} listens on {address}");
    }
    let _ = tokio::signal::ctrl_c().await;
    Ok(())
}

fn delays(path: &Path) -> Result<String, Trouble> {
    if path == Path::new("bundled") {
        return Ok(RTT.to_owned());
    }
    std::fs::read_to_string(path)
        .map_err(|error| Trouble::failure(format!("cannot read {}: {error}", path.display())))
}

/// Every zone's endpoints, the zone's own and those of its services.
fn from_config(file: &Path) -> Result<Vec<(String, String)>, Trouble> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Trouble::failure(format!("cannot read {shown}: {error}")))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let settings = homing_proxy::config::Settings::parse(&text, folder)
        .map_err(|faults| Trouble::config(faults.render(&shown), ""))?;
    let Some(document) = settings.facts else {
        let text = format!("{shown} names no zones: they come from control");
        return Err(Trouble::config(text, "give a file with `zones`, such as configs/solo.yaml"));
    };
    let own = document.zones.iter().flat_map(|zone| {
        zone.endpoints.iter().map(|endpoint| (zone.name.clone(), endpoint.address.clone()))
    });
    let of_services = document.services.iter().flat_map(|service| &service.endpoints);
    let of_services = of_services.flat_map(|(zone, endpoints)| {
        let name = document.zones.get(zone.index()).map_or("", |zone| zone.name.as_str());
        endpoints.iter().map(|endpoint| (name.to_owned(), endpoint.address.clone()))
    });
    let mut all: Vec<_> = own.chain(of_services).collect();
    all.sort();
    all.dedup();
    Ok(all)
}
