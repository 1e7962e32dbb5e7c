//! Compiles the messages without protoc: protox parses, prost-build generates. Only messages here;
//! the gRPC client and server are generated where the runtime they need is a dependency.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new("proto/homing.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([file], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
