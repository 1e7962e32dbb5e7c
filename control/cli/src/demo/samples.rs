//! Every answered request of both arms as a line of CSV, with what its time was made of: what is
//! left over after the way, the wait for a place and the work is Homing's and the machine's.

use std::fmt::Write as _;
use std::path::Path;

use super::arm::Played;
use super::world::World;

/// Writes the file.
///
/// # Errors
/// As the system says.
pub fn write(file: &Path, arms: [(&str, &Played); 2], world: &World) -> std::io::Result<()> {
    let mut text = String::from(
        "arm,due_ms,client,page,drifter,drifted,zone,took_ms,queued_ms,way_ms,detour_ms,\
         waited_ms,worked_ms,rest_ms\n",
    );
    for (name, arm) in arms {
        for sample in &arm.samples {
            let zone = sample.zone.and_then(|zone| world.zones.get(usize::from(zone)));
            let zone = zone.map_or("", |zone| zone.name.as_str());
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{name},{:.1},{},{},{},{},{zone}",
                sample.due_us as f64 / 1e3,
                sample.client,
                u8::from(sample.page),
                u8::from(sample.drifter),
                u8::from(sample.drifted),
            );
            let way = [sample.took_us, sample.queued_us, sample.way_us, sample.detour_us];
            let rest = [sample.waited_us, sample.worked_us, sample.rest_us()];
            for us in way.into_iter().chain(rest) {
                let _ = write!(text, ",{:.1}", us as f64 / 1e3);
            }
            text.push('\n');
        }
    }
    std::fs::write(file, text)
}
