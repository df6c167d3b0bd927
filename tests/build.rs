//! Finds the tests that services keep in their own folders, `workers/src/services/NAME/system_tests.rs`, so that nobody
//! has to declare them.

use std::{env, fmt::Write as _, fs, io, path::Path};

const SERVICES: &str = "../workers/src/services";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SERVICES}");
    let mut modules = String::new();
    for entry in fs::read_dir(SERVICES)? {
        let entry = entry?;
        let (name, file) = (entry.file_name(), entry.path().join("system_tests.rs"));
        if file.exists() {
            let (name, file) = (name.to_string_lossy(), file.canonicalize()?);
            writeln!(modules, "#[path = {file:?}]\nmod {name}_service;").map_err(io::Error::other)?;
        }
    }
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("services.rs"), modules)
}
