//! Rebuilds the crate when a service's migrations change. They are embedded at compile time, but the macro does not
//! watch the folders. A service's first migration changes its `mod.rs`, which is watched too.

use std::{fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src/services/mod.rs");
    for entry in fs::read_dir("src/services")? {
        let service = entry?.path();
        for watched in [service.join("mod.rs"), service.join("migrations")].iter().filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", watched.display());
        }
    }
    Ok(())
}
