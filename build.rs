//! The migrations are embedded into the programs when they are compiled, and the macro that does so is told of no folder
//! that appears: without this, a new migration would be in no program until something else is changed.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
