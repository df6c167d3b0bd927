//! Who may see an order: whoever has its token, in a header or, in a browser, in a cookie.
//!
//! A browser sends its cookies whoever made it ask. So what changes an order, and the WebSocket, which no rule of browsers
//! keeps from being opened by other sites, is done with the cookie only where the request comes from a page of ours. A
//! token in a header needs no such look: only who knows it can send it.

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

/// The order that the path names, if the request carries the token that opens it.
///
/// # Errors
/// Always the same 404, whatever is wrong: nobody learns whether an order exists.
pub fn order(request: &HttpRequest, links: &OrderLinks) -> Result<Uuid, Problem> {
    let named = request.match_info().get("id").and_then(domain::canonical_id);
    named.filter(|id| opens(request, links, *id)).ok_or_else(Problem::order_not_found)
}

/// Whether the request carries the token that opens this order.
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

/// Whether a page of ours sent this. Since our pages have no referrer, browsers send `Origin: null` with their forms (the
/// Fetch standard, "append a request Origin header"); then what they say in `Sec-Fetch-Site`, which no script can set, has
/// to be that it is the same origin.
fn is_from_own_page(request: &HttpRequest, links: &OrderLinks) -> bool {
    match text(request, ORIGIN.as_str()) {
        Some("null") => text(request, SITE) == Some(SAME_ORIGIN),
        Some(origin) => links.is_own_origin(origin),
        None => false,
    }
}

/// Whether a form that needs no cookie was sent by a page of ours, or by no page at all. What every browser since 2020 says
/// of a form is enough to tell another site's. A program says nothing, and a person who loads an answer again is said to
/// come from nowhere (`none`), which no page can make a browser say.
pub fn is_own_form(request: &HttpRequest, links: &OrderLinks) -> bool {
    match (text(request, ORIGIN.as_str()), text(request, SITE)) {
        (None | Some("null"), Some("none")) | (None, None | Some(SAME_ORIGIN)) => true,
        // Browsers leave the second one out where there is neither TLS nor loopback, and before 2023 some did everywhere.
        (_, Some(site)) if ![SAME_ORIGIN, "none"].contains(&site) => false,
        _ => is_from_own_page(request, links),
    }
}

/// What a browser says of where a request comes from.
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
    fn whatever_is_wrong_the_answer_is_the_same() {
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

    /// A request with the order's cookie and these headers.
    fn with_cookie(request: TestRequest, headers: &[(&'static str, &'static str)]) -> bool {
        let id = Uuid::now_v7();
        let cookie = format!("order-{id}={}", links().token(id, Utc::now()));
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        opens(&request.insert_header(("cookie", cookie)).to_http_request(), &links(), id)
    }

    #[test]
    fn the_cookie_opens_it_for_reading_wherever_the_link_was() {
        assert!(with_cookie(TestRequest::get(), &[]));
        assert!(with_cookie(TestRequest::get(), &[("sec-fetch-site", "cross-site")]));
        // Who sends a token is judged by it.
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

    /// Another site's page may send a form to the checkout and fill the customer's browser with orders of strangers: so
    /// what browsers say of a form's origin has to be ours. Beside the browsers that say nothing there are only programs.
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
