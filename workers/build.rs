//! The migrations of services are embedded when this crate is compiled, and the macro that does so is told of no folder: a
//! new migration has to be noticed here. A service that brings its first one says so in its `mod.rs`.

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
