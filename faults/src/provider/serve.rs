//! The provider over HTTP: authorisation, idempotency keys, and deliberate failures.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::{StatusCode, header},
    web::{self, Bytes, Data, Json},
};
use serde_json::json;

use super::{
    answer::{Answer, Done},
    books::Books,
    faults::{Dice, Mode, Setting},
    intents::{self, Parameters},
    refunds,
};
use crate::journal::Journal;

/// How long a hanging call is held at most.
const HANG: Duration = Duration::from_secs(600);

/// A provider.
pub struct Provider {
    state: Mutex<State>,
    ledger: Journal,
}

struct State {
    books: Books,
    dice: Dice,
    /// Fixed answers, by kind of call, that replace carrying the call out.
    instead: BTreeMap<String, Answer>,
    /// The keys of requests in progress.
    running: BTreeSet<String>,
    requests: u64,
    replays: u64,
}

impl Provider {
    /// Returns a provider with this state.
    pub fn new(books: Books, ledger: Journal, seed: u64) -> Self {
        let state = State {
            books,
            dice: Dice::new(seed),
            instead: BTreeMap::new(),
            running: BTreeSet::new(),
            requests: 0,
            replays: 0,
        };
        Self { state: Mutex::new(state), ledger }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until SIGTERM or Ctrl-C.
pub async fn serve(listen: SocketAddr, provider: Provider) -> io::Result<()> {
    let provider = Data::new(provider);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&provider))
            .route("/ledger", web::get().to(show))
            .route("/faults", web::post().to(set))
            .route("/answers", web::post().to(answer_instead))
            .default_service(web::to(call))
    })
    .workers(2)
    // Notice clients that disconnect, so that calls hanging for them end.
    .h1_allow_half_closed(false)
    .shutdown_timeout(1)
    .bind(listen)?;
    for address in server.addrs() {
        eprintln!("orderflow-faults: the provider serves address={address}");
    }
    server.run().await
}

/// `GET /ledger`
async fn show(provider: Data<Provider>) -> HttpResponse {
    let (shown, lines) = {
        let state = provider.state();
        let shown = json!({
            "intents": state.books.intents.values().collect::<Vec<_>>(),
            "refunds": state.books.refunds.values().collect::<Vec<_>>(),
            "keys": state.books.keys.len(),
            "requests": state.requests,
            "replays": state.replays,
            "faults": state.dice.struck,
        });
        (shown, provider.ledger.add(None))
    };
    provider.ledger.until_written(lines).await;
    HttpResponse::Ok().json(shown)
}

/// `POST /faults`
async fn set(provider: Data<Provider>, setting: Json<Setting>) -> HttpResponse {
    provider.state().dice.setting = *setting;
    HttpResponse::Ok().json(*setting)
}

/// `POST /answers`: from now on every call of these kinds (`create`, `read`, `confirm`, `cancel`, `refunds`, `refund`)
/// gets this answer without effect; `{}` ends that.
async fn answer_instead(provider: Data<Provider>, answers: Json<BTreeMap<String, Answer>>) -> HttpResponse {
    provider.state().instead = answers.into_inner();
    HttpResponse::Ok().json(json!({}))
}

/// A request to the API.
struct Asked {
    method: String,
    path: String,
    parameters: Parameters,
    key: Option<String>,
}

impl Asked {
    fn of(request: &HttpRequest, body: &[u8]) -> Self {
        let query = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned();
        let parameters = query.chain(url::form_urlencoded::parse(body).into_owned()).collect();
        let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
        Self {
            method: request.method().as_str().to_owned(),
            path: request.path().to_owned(),
            parameters,
            // Reads change nothing, so a key has no meaning there.
            key: key.filter(|_| request.method() == "POST").map(str::to_owned),
        }
    }

    /// Returns the kind of call.
    fn kind(&self) -> &'static str {
        let segments: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        match (self.method.as_str(), segments.as_slice()) {
            ("POST", ["v1", "payment_intents"]) => "create",
            ("GET", ["v1", "payment_intents", _]) => "read",
            ("POST", ["v1", "payment_intents", _, "confirm"]) => "confirm",
            ("POST", ["v1", "payment_intents", _, "cancel"]) => "cancel",
            ("POST", ["v1", "refunds"]) => "refund",
            ("GET", ["v1", "refunds"]) => "refunds",
            _ => "other",
        }
    }

    /// Returns what must be the same when the key is used again.
    fn fingerprint(&self) -> String {
        format!("{} {:?}", self.path, self.parameters)
    }
}

/// Any call to the API.
async fn call(provider: Data<Provider>, request: HttpRequest, body: Bytes) -> HttpResponse {
    if !is_authorised(&request) {
        let message = "Invalid API Key provided.";
        let body = json!({ "error": { "type": "invalid_request_error", "message": message } });
        return respond(&Answer { status: 401, body }, false);
    }
    let asked = Asked::of(&request, &body);
    let (fault, instead) = {
        let mut state = provider.state();
        state.requests = state.requests.saturating_add(1);
        (state.dice.throw(), state.instead.get(asked.kind()).cloned())
    };
    if let Some(answer) = instead {
        return respond(&answer, false);
    }
    match fault {
        Mode::ErrorBefore => return respond(&Answer::broken(), false),
        Mode::RateLimited => {
            let answer = Answer::error(429, "invalid_request_error", "rate_limit", "Too many requests.");
            let mut response = respond(&answer, false);
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            return response;
        }
        Mode::HangBefore => {
            let _running = Running::begin(&provider, asked.key.clone());
            return hang().await;
        }
        Mode::None | Mode::ErrorAfter | Mode::HangAfter | Mode::Garbage => {}
    }
    let (answer, replayed, lines) = carry_out(&provider, &asked, fault);
    // Readers must not see either what a crash would undo.
    provider.ledger.until_written(lines).await;
    match fault {
        Mode::HangAfter => hang().await,
        Mode::Garbage => HttpResponse::Ok().content_type("text/html").body("<html>Bad gateway</html>"),
        _ => respond(&answer, replayed),
    }
}

/// Carries out the request under one lock, so that every request sees the previous one completed.
fn carry_out(provider: &Provider, asked: &Asked, fault: Mode) -> (Answer, bool, u64) {
    let mut state = provider.state();
    if let Some(known) = asked.key.as_ref().and_then(|key| state.books.keys.get(key)) {
        let known = known.clone();
        state.replays = state.replays.saturating_add(1);
        let same = known.asked == asked.fingerprint();
        let message = "Keys for idempotent requests can only be used with the same parameters.";
        let body = json!({ "error": { "type": "idempotency_error", "message": message } });
        let answer = if same { known.answer } else { Answer { status: 400, body } };
        return (answer, same, provider.ledger.add(None));
    }
    if asked.key.as_ref().is_some_and(|key| state.running.contains(key)) {
        let message = "There is currently another in-progress request using this key.";
        let answer = Answer::error(409, "idempotency_error", "idempotency_key_in_use", message);
        return (answer, false, provider.ledger.add(None));
    }
    let mut done = decide(&state.books, asked);
    if fault == Mode::ErrorAfter {
        done.answer = Answer::broken();
    }
    let answer = done.answer.clone();
    let key = asked.key.clone().map(|key| (key, asked.fingerprint()));
    let line = state.books.record(done, key);
    (answer, false, provider.ledger.add(line.as_deref()))
}

fn decide(books: &Books, asked: &Asked) -> Done {
    let Asked { method, path, parameters, .. } = asked;
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["v1", "payment_intents"]) => intents::create(parameters),
        ("GET", ["v1", "payment_intents", id]) => intents::retrieve(books, id),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => intents::confirm(books, id, parameters),
        ("POST", ["v1", "payment_intents", id, "cancel"]) => intents::cancel(books, id, parameters),
        ("POST", ["v1", "refunds"]) => refunds::create(books, parameters),
        ("GET", ["v1", "refunds"]) => refunds::list(books, parameters),
        _ => Done::refused(Answer::missing(404, "url", path)),
    }
}

/// Accepts a test key, as `Bearer` or as the user name of `Basic`. There it is in base64, whose first characters are
/// fixed by "sk_test" and one bit of the next character.
fn is_authorised(request: &HttpRequest) -> bool {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.is_some_and(|given| given.starts_with("Bearer sk_test_") || given.starts_with("Basic c2tfdGVzdF"))
}

/// Marks a key's request as in progress until this is dropped.
struct Running<'p> {
    provider: &'p Provider,
    key: Option<String>,
}

impl<'p> Running<'p> {
    fn begin(provider: &'p Provider, key: Option<String>) -> Self {
        provider.state().running.extend(key.clone());
        Self { provider, key }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.provider.state().running.remove(key);
        }
    }
}

/// Sends no answer while the client waits; after [`HANG`] an empty one that closes the connection.
async fn hang() -> HttpResponse {
    tokio::time::sleep(HANG).await;
    HttpResponse::InternalServerError().force_close().finish()
}

fn respond(answer: &Answer, replayed: bool) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    response.json(&answer.body)
}
