//! Access to an order: a client needs its token, in a header or, in a browser, in a cookie.
//!
//! A browser sends its cookies whichever site caused the request. So with a cookie, changes and WebSockets are accepted
//! only from our own pages; browsers let any site open a WebSocket. A token in a header needs no such check: only a
//! client that knows the token can send it.

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{AUTHORIZATION, ORIGIN, UPGRADE},
    },
};
use chrono::Utc;
use orderflow_order::{domain, token::OrderLinks};
use uuid::Uuid;

use super::{cookie, problem::Problem};

/// Returns the order that the path names, if the request carries its token.
///
/// # Errors
/// Returns the same 404 in all cases, so that the answer does not reveal whether an order exists.
pub fn order(request: &HttpRequest, links: &OrderLinks) -> Result<Uuid, Problem> {
    let named = request.match_info().get("id").and_then(domain::canonical_id);
    named.filter(|id| opens(request, links, *id)).ok_or_else(Problem::order_not_found)
}

/// Returns whether the request carries this order's token.
pub fn opens(request: &HttpRequest, links: &OrderLinks, id: Uuid) -> bool {
    match request.headers().get(AUTHORIZATION) {
        Some(value) => {
            let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
            bearer.is_some_and(|(scheme, token)| {
                scheme.eq_ignore_ascii_case("bearer") && links.opens(token.trim(), id, Utc::now())
            })
        }
        None => {
            let by_cookie =
                || cookie::token(request, links, id).is_some_and(|token| links.opens(&token, id, Utc::now()));
            (!needs_origin(request) || is_from_own_page(request, links)) && by_cookie()
        }
    }
}

fn needs_origin(request: &HttpRequest) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD) || request.headers().contains_key(UPGRADE)
}

/// Returns whether one of our own pages sent this request. Our pages send no referrer, so browsers send `Origin: null`
/// with their forms (the Fetch standard, "append a request Origin header"). Then `Sec-Fetch-Site`, which no script can
/// set, must be `same-origin`.
fn is_from_own_page(request: &HttpRequest, links: &OrderLinks) -> bool {
    match text(request, ORIGIN.as_str()) {
        Some("null") => text(request, SITE) == Some(SAME_ORIGIN),
        Some(origin) => links.is_own_origin(origin),
        None => false,
    }
}

/// Returns whether a form that needs no cookie came from one of our own pages, or from no page at all. Every browser
/// since 2020 sends enough headers to recognise another site's form. A program sends neither header. A reloaded answer
/// comes with `Sec-Fetch-Site: none`, which no page can make a browser send.
pub fn is_own_form(request: &HttpRequest, links: &OrderLinks) -> bool {
    match (text(request, ORIGIN.as_str()), text(request, SITE)) {
        (None | Some("null"), Some("none")) | (None, None | Some(SAME_ORIGIN)) => true,
        // Browsers omit `Sec-Fetch-Site` without TLS except on loopback; some omitted it everywhere before 2023.
        (_, Some(site)) if ![SAME_ORIGIN, "none"].contains(&site) => false,
        _ => is_from_own_page(request, links),
    }
}

/// The header in which a browser says where a request comes from.
const SITE: &str = "sec-fetch-site";
const SAME_ORIGIN: &str = "same-origin";

fn text<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers().get(name).map(|value| value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use url::Url;

    use super::*;
    use crate::web::problem::Code;
    use orderflow_service::config::LinkConfig;

    fn links() -> OrderLinks {
        let public_url = Url::parse("http://127.0.0.1:8080").expect("a URL");
        OrderLinks::new(&LinkConfig { public_url, token_secrets: vec!["a secret of 32 characters or more".into()] })
    }

    fn ask(id: &str, authorization: Option<String>) -> Result<Uuid, Code> {
        let mut request = TestRequest::default().param("id", id.to_owned());
        if let Some(text) = authorization {
            request = request.insert_header((AUTHORIZATION, text));
        }
        order(&request.to_http_request(), &links()).map_err(|problem| problem.code())
    }

    #[test]
    fn the_orders_own_token_opens_it() {
        let id = Uuid::now_v7();
        let token = links().token(id, Utc::now());
        assert_eq!(ask(&id.to_string(), Some(format!("Bearer {token}"))), Ok(id));
        assert_eq!(ask(&id.to_string(), Some(format!("bearer {token}"))), Ok(id));
    }

    #[test]
    fn every_failed_authorization_gets_the_same_answer() {
        let id = Uuid::now_v7();
        let token = links().token(id, Utc::now());
        let bearer = Some(format!("Bearer {token}"));
        for (id, authorization) in [
            (id.to_string(), None),
            (id.to_string(), Some(token.clone())),
            (id.to_string(), Some(format!("Basic {token}"))),
            (id.to_string(), Some(format!("Bearer {token}0"))),
            (id.to_string(), Some(format!("Bearer {}", links().token(Uuid::now_v7(), Utc::now())))),
            (id.to_string().to_uppercase(), bearer.clone()),
            (id.simple().to_string(), bearer.clone()),
            ("x".to_owned(), bearer),
        ] {
            assert_eq!(ask(&id, authorization.clone()), Err(Code::OrderNotFound), "{id} {authorization:?}");
        }
    }

    /// Returns a request with the order's cookie and these headers.
    fn with_cookie(request: TestRequest, headers: &[(&'static str, &'static str)]) -> bool {
        let id = Uuid::now_v7();
        let cookie = format!("order-{id}={}", links().token(id, Utc::now()));
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        opens(&request.insert_header(("cookie", cookie)).to_http_request(), &links(), id)
    }

    #[test]
    fn the_cookie_permits_reading_from_any_site() {
        assert!(with_cookie(TestRequest::get(), &[]));
        assert!(with_cookie(TestRequest::get(), &[("sec-fetch-site", "cross-site")]));
        // A token in a header takes precedence over the cookie.
        assert!(!with_cookie(TestRequest::get(), &[("authorization", "Bearer wrong")]));
    }

    #[test]
    fn with_the_cookie_only_our_own_pages_change_or_watch_it() {
        let (own, null) = (("origin", "http://127.0.0.1:8080"), ("origin", "null"));
        for (headers, expected) in [
            (&[own][..], true),
            (&[null, ("sec-fetch-site", "same-origin")], true),
            (&[], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[null], false),
            (&[null, ("sec-fetch-site", "cross-site")], false),
            (&[("origin", "http://127.0.0.1:8081")], false),
            (&[("origin", "https://127.0.0.1:8080")], false),
            (&[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")], false),
        ] {
            assert_eq!(with_cookie(TestRequest::post(), headers), expected, "{headers:?}");
            let watching = TestRequest::get().insert_header(("upgrade", "websocket"));
            assert_eq!(with_cookie(watching, headers), expected, "watching: {headers:?}");
        }
    }

    /// Another site's page could send a form to the checkout and fill the customer's browser with strangers' orders. So
    /// a form's origin, as the browser reports it, must be ours. Only programs send no origin at all.
    #[test]
    fn a_form_is_our_own_unless_a_browser_says_otherwise() {
        let (own, null, foreign) = ("http://127.0.0.1:8080", "null", "http://evil.example");
        for (origin, site, expected) in [
            (Some(null), Some("same-origin"), true),
            (Some(own), Some("same-origin"), true),
            (Some(own), None, true),
            (None, Some("same-origin"), true),
            (None, None, true),
            (None, Some("none"), true),
            (Some(null), Some("none"), true),
            (Some(own), Some("none"), true),
            (Some(null), None, false),
            (Some(null), Some("same-site"), false),
            (Some(null), Some("cross-site"), false),
            (None, Some("same-site"), false),
            (None, Some("cross-site"), false),
            (None, Some("nonsense"), false),
            (Some(own), Some("same-site"), false),
            (Some(foreign), None, false),
            (Some(foreign), Some("none"), false),
            (Some(foreign), Some("same-origin"), false),
            (Some("http://127.0.0.1:8081"), None, false),
        ] {
            let headers = [("origin", origin), ("sec-fetch-site", site)];
            let given = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let request = given.fold(TestRequest::post(), |request, header| request.insert_header(header));
            assert_eq!(is_own_form(&request.to_http_request(), &links()), expected, "{origin:?} {site:?}");
        }
    }
}
