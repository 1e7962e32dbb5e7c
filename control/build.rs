//! Generates the link's gRPC server without protoc: protox parses the messages that homing-wire
//! owns, and the generated code names that crate's types instead of its own.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("../proxy/wire/proto");
    let file = folder.join("homing.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [folder])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .extern_path(".homing.v1", "::homing_wire::proto")
        .compile_fds(descriptors)?;
    Ok(())
}
