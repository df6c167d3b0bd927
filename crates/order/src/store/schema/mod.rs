//! The tables as Diesel sees them, a file per schema: written by `make schema`, checked by `make test`.
#![allow(missing_docs, reason = "the files are generated; the migrations say what each table is for")]

// Each generated file is itself a module named after its schema, so include it instead of declaring it.
include!("catalogue.rs");
include!("orders.rs");
