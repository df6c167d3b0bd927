//! The cookies that open orders in a browser: one per order, so that two tabs do not overwrite each other's.
//!
//! Parsed by hand: browsers send every cookie of the host, on a developer's machine also those of other programs. A
//! malformed cookie of theirs must not hide ours.

use actix_web::{HttpRequest, http::header};
use orderflow_order::token::{LIFETIME, OrderLinks};
use uuid::Uuid;

/// The most orders that one browser keeps open: a header of about 1,300 bytes, far below the limits of servers and
/// proxies. The link in the mail opens an older order again.
const MOST: usize = 10;

/// Followed by the order's id.
const NAME: &str = "order-";

/// Browsers accept a cookie with this prefix only with `Secure`, `Path=/` and no domain, so a subdomain cannot set it.
const PREFIX: &str = "__Host-";

/// Returns the prefix of the cookies' names.
fn prefix(links: &OrderLinks) -> String {
    // Browsers discard `Secure` cookies that arrive over plain HTTP. The settings allow plain HTTP only where no one
    // can intercept it.
    if links.is_without_tls() { NAME.to_owned() } else { format!("{PREFIX}{NAME}") }
}

/// Returns the token that the request's cookies hold for this order, unchecked.
pub fn token(request: &HttpRequest, links: &OrderLinks, order: Uuid) -> Option<String> {
    opened(request, links).into_iter().find(|(one, _)| *one == order).map(|(_, token)| token)
}

/// Returns the orders in the request's cookies and their tokens, unchecked.
fn opened(request: &HttpRequest, links: &OrderLinks) -> Vec<(Uuid, String)> {
    let prefix = prefix(links);
    let headers = request.headers().get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
    let cookies = headers.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.parse().ok()?, value.to_owned()))).collect()
}

/// Returns the cookies to set so that this browser opens the order: its own, and expired ones for the oldest beyond the
/// limit.
pub fn open(request: &HttpRequest, links: &OrderLinks, order: Uuid, token: &str) -> Vec<String> {
    let attributes = if links.is_without_tls() { "" } else { "; Secure" };
    let set = |order: Uuid, token: &str, seconds: i64| {
        let prefix = prefix(links);
        format!("{prefix}{order}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{attributes}")
    };
    let mut others: Vec<Uuid> =
        opened(request, links).into_iter().map(|(order, _)| order).filter(|one| *one != order).collect();
    // An order's id begins with its time.
    others.sort_unstable();
    let too_many = (others.len() + 1).saturating_sub(MOST);
    let forgotten = others.iter().take(too_many).map(|order| set(*order, "", 0));
    std::iter::once(set(order, token, LIFETIME.num_seconds())).chain(forgotten).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use orderflow_service::config::LinkConfig;

    fn links(public_url: &str) -> OrderLinks {
        let token_secrets = vec!["a secret of 32 characters or more".into()];
        OrderLinks::new(&LinkConfig { public_url: public_url.parse().expect("a URL"), token_secrets })
    }

    fn with(cookies: &str) -> HttpRequest {
        TestRequest::default().insert_header((header::COOKIE, cookies)).to_http_request()
    }

    #[test]
    fn the_cookie_is_secure_when_the_shop_uses_tls() {
        let order = Uuid::now_v7();
        let rest = format!("order-{order}=t; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax");
        // Browsers discard a `Secure` cookie that arrives over plain HTTP: customers would not see the order they just
        // paid for.
        for plain in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "http://shop.lan:8080"] {
            assert_eq!(open(&with(""), &links(plain), order, "t").concat(), rest, "{plain}");
        }
        for public in ["https://shop.example", "https://127.0.0.1"] {
            assert_eq!(
                open(&with(""), &links(public), order, "t").concat(),
                format!("__Host-{rest}; Secure"),
                "{public}"
            );
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_by_its_own_name() {
        let (order, links) = (Uuid::now_v7(), links("https://shop.example"));
        let found = |cookies: &str| token(&with(cookies), &links, order);
        assert_eq!(found(&format!("a=b; broken; __Host-order-{order}=v1.1.aa; c=\"d")).as_deref(), Some("v1.1.aa"));
        assert_eq!(found(&format!("order-{order}=v1.1.aa")), None);
        assert_eq!(found(&format!("__Host-order-{}=v1.1.aa", Uuid::now_v7())), None);
    }

    #[test]
    fn the_oldest_cookie_beyond_the_limit_expires() {
        let links = links("https://shop.example");
        let orders: Vec<Uuid> =
            (1..=MOST).map(|time| Uuid::from_u128(u128::try_from(time).expect("it fits") << 80)).collect();
        let cookies: Vec<_> = orders.iter().rev().map(|order| format!("__Host-order-{order}=t")).collect();
        let set = open(&with(&cookies.join("; ")), &links, Uuid::now_v7(), "t");
        assert_eq!(set.len(), 2);
        assert!(set[1].starts_with(&format!("__Host-order-{}=; Path=/; Max-Age=0;", orders[0])), "{set:?}");
        // An order that is already open displaces no other.
        assert_eq!(open(&with(&cookies.join("; ")), &links, orders[3], "t").len(), 1);
    }
}
