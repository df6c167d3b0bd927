//! `GET /orders/{id}/live?after=N`

use actix_web::{
    HttpRequest, HttpResponse, rt,
    web::{Data, Payload},
};

use super::{
    app::App,
    auth,
    live::{self, Full, RETRY_SECONDS, Session},
    problem::{Code, Problem},
    request_id, timeline,
};

/// Sends the watcher the entries that it does not have yet, and then each new entry.
///
/// With too many watchers, the socket opens and closes with a reason: a browser's script cannot read the status of a
/// failed handshake.
///
/// # Errors
/// 404 without the order's token, 400 if `after` is not a version, 426 if the request is not a handshake, 503 while the
/// database is unavailable or the process is stopping.
pub async fn handle(request: HttpRequest, app: Data<App>, payload: Payload) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    let after = timeline::after(request.query_string())?;
    let payload = live::bounded(&request, payload).await.map_err(|_| Problem::upgrade_required())?;
    let (response, socket, incoming) = actix_ws::handle(&request, payload).map_err(|_| Problem::upgrade_required())?;
    if app.stop.is_cancelled() {
        let problem = Problem::new(Code::NotReady, "This process is stopping. Connect again to reach another one.");
        return Err(problem.retry_after(RETRY_SECONDS));
    }
    match app.live.watch(id).await? {
        Ok(watcher) => {
            let session = Session::new(request_id::of(&request), socket, incoming, watcher, after);
            rt::spawn(session.run(app.stop.clone()))
        }
        Err(Full) => rt::spawn(live::refuse(socket, incoming)),
    };
    Ok(response)
}
