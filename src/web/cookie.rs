//! The cookies that open orders in a browser: one for each order, so that two tabs do not undo each other's.
//!
//! Read by hand: every cookie of the host is sent to us, on a developer's machine also those of other programs, and one
//! that is malformed must not hide ours.

use actix_web::{HttpRequest, http::header};
use orderflow_order::token::{LIFETIME, OrderLinks};
use uuid::Uuid;

/// Orders that one browser keeps open at most: a header of some 1,300 bytes, far below what servers and proxies take.
/// The mail's link opens an older one again.
const MOST: usize = 10;

/// Followed by the order's id.
const NAME: &str = "order-";

/// Browsers take a cookie of such a name only with `Secure`, `Path=/` and no domain: another host below ours cannot set it.
const PREFIX: &str = "__Host-";

/// The cookie's name begins with this.
fn prefix(links: &OrderLinks) -> String {
    // Browsers do not keep `Secure` cookies that came by plain HTTP. The settings permit that only where nobody is in between.
    if links.is_without_tls() { NAME.to_owned() } else { format!("{PREFIX}{NAME}") }
}

/// The token that the request has for this order.
pub fn token(request: &HttpRequest, links: &OrderLinks, order: Uuid) -> Option<String> {
    opened(request, links).into_iter().find(|(one, _)| *one == order).map(|(_, token)| token)
}

/// The orders whose cookies came along, and the tokens in them, unchecked.
fn opened(request: &HttpRequest, links: &OrderLinks) -> Vec<(Uuid, String)> {
    let prefix = prefix(links);
    let headers = request.headers().get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
    let cookies = headers.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.parse().ok()?, value.to_owned()))).collect()
}

/// What to set so that this browser opens the order from now on: its cookie, and an end to the oldest of too many.
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
    fn it_is_secure_wherever_the_shop_is_reached_by_tls() {
        let order = Uuid::now_v7();
        let rest = format!("order-{order}=t; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax");
        // Browsers drop a `Secure` cookie that comes by plain HTTP, and their owners would not see what they have just paid for.
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
    fn the_oldest_of_too_many_is_forgotten() {
        let links = links("https://shop.example");
        let orders: Vec<Uuid> =
            (1..=MOST).map(|time| Uuid::from_u128(u128::try_from(time).expect("it fits") << 80)).collect();
        let cookies: Vec<_> = orders.iter().rev().map(|order| format!("__Host-order-{order}=t")).collect();
        let set = open(&with(&cookies.join("; ")), &links, Uuid::now_v7(), "t");
        assert_eq!(set.len(), 2);
        assert!(set[1].starts_with(&format!("__Host-order-{}=; Path=/; Max-Age=0;", orders[0])), "{set:?}");
        // One that is open already takes no other's place.
        assert_eq!(open(&with(&cookies.join("; ")), &links, orders[3], "t").len(), 1);
    }
}
