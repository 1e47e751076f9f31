//! Compiles `proto/` without `protoc`: `cargo build` needs no other tool.

use std::{error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    for package in ["millrace/v1", "millrace/internal/v1"] {
        for entry in std::fs::read_dir(root.join(package))? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".")
        // In order, so that the same message is always the same bytes.
        .btree_map(".")
        .codec_path("crate::codec::Bounded")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
