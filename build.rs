//! Compiles the protos without `protoc`: the messages and services of `claviger.v1` to Rust, and all files to the
//! descriptor set that reflection serves. Writes only below `OUT_DIR`.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Messages that carry a token or its digest: their `Debug` is written by hand in `src/grpc/proto.rs`, and redacts it.
const SECRET_MESSAGES: &[&str] = &[
    "claviger.v1.ExternalToken",
    "claviger.v1.ExternalDigest",
    "claviger.v1.IssuedToken",
    "claviger.v1.LookupKeyRequest",
    "claviger.v1.FoundToken",
    "claviger.v1.Secret",
    "claviger.v1.PublishEventRequest",
    "claviger.v1.CreateSigningSecretResponse",
    "claviger.v1.RotateSigningSecretResponse",
    "claviger.v1.Credential",
    "claviger.v1.HttpRequest",
    "claviger.v1.HttpHeader",
    "claviger.v1.HeaderValues",
];

#[expect(
    clippy::disallowed_methods,
    reason = "a build script is told its output folder by the environment alone"
)]
fn main() -> Result<(), Box<dyn Error>> {
    // `compile_fds` prints none of these itself.
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");

    let mut files = Vec::new();
    collect_protos(Path::new("proto"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    // Envoy's messages are read and written by hand (`src/grpc/envoy.rs`); here they serve reflection alone.
    let mut ours = compiler.file_descriptor_set();
    ours.file.retain(|file| {
        ["claviger.", "google.protobuf"]
            .iter()
            .any(|p| file.package().starts_with(p))
    });
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRET_MESSAGES)
        .compile_fds(ours)?;
    Ok(())
}

fn collect_protos(dir: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            into.push(path);
        }
    }
    Ok(())
}
