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

/// Tells the watcher all that it does not know, and then each step.
///
/// Beyond the bounds it is told so by its socket, since a browser's script sees no status of a handshake.
///
/// # Errors
/// 404 without the order's token, 400 for an `after` that is no version, 426 for what is no handshake, 503 while the
/// database is away and while stopping.
pub async fn handle(request: HttpRequest, app: Data<App>, payload: Payload) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    let after = timeline::after(request.query_string())?;
    let payload = live::bounded(&request, payload).await.map_err(|_| Problem::upgrade_required())?;
    let (response, socket, incoming) = actix_ws::handle(&request, payload).map_err(|_| Problem::upgrade_required())?;
    if app.stop.is_cancelled() {
        let problem = Problem::new(Code::NotReady, "Stopping: connect again, another process takes over.");
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
