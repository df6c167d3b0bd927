//! The tables as diesel sees them, a file for each schema: written by `make schema`, checked by `make test`.
#![allow(missing_docs, reason = "the files are generated; the migrations say what each table is for")]

// Each file is one module of the schema's name, which is why they are included and not declared.
include!("email.rs");
include!("inventory.rs");
include!("operations.rs");
include!("payment.rs");
include!("shipping.rs");
include!("simulator.rs");
