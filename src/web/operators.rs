//! What is for operators and their programs, at `OPS_LISTEN`: a server of its own, so that a proxy in front of the shop
//! cannot show it by mistake, and a shop with too many customers can still be looked into.

use std::{io, net::TcpListener};

use actix_web::{
    App, HttpServer,
    dev::Server,
    web::{self, Data},
};

use crate::{metrics, store::Database};

/// The server, which runs when it is awaited. Logs its address.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(listener: TcpListener, database: Database) -> io::Result<Server> {
    let database = Data::new(database);
    let app = move || App::new().app_data(database.clone()).route("/metrics", web::get().to(metrics::answer));
    // Signals are the process's business, and one thread answers whoever asks.
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?;
    for address in server.addrs() {
        tracing::info!(at = %address, "answering operators");
    }
    Ok(server.run())
}
