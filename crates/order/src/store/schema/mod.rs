//! The tables as Diesel sees them, a file per schema: written by `make schema`, checked by `make test`.
#![allow(missing_docs, reason = "the files are generated; the migrations say what each table is for")]

// Each file is one module of the schema's name, which is why they are included and not declared.
include!("catalogue.rs");
include!("orders.rs");
