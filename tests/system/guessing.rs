//! Guesses at operators' tokens, and sessions that were logged out.

use orderflow_tests::{Scrape, Shop, Visitor};
use reqwest::{Method, StatusCode};

use crate::admin::{ADA, RITA, refused, start_web_for_operators};

const FORM: &str = "application/x-www-form-urlencoded";

async fn log_in(browser: &mut Visitor, token: &str) -> StatusCode {
    let origin = browser.root.clone();
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    let headers = [("content-type", FORM), ("origin", origin.as_str())];
    browser.send(Method::POST, "/ops/login", &headers, Some(form)).await.status
}

/// After a log-out, no copy of the session's cookie opens the console at any front end. A copy used to work until it
/// expired, twelve hours later.
#[tokio::test(flavor = "multi_thread")]
async fn logged_out_session_opens_nothing_at_any_front_end() {
    let mut shop = Shop::open().await;
    let (_, here) = start_web_for_operators(&mut shop, &[]).await;
    let (_, there) = start_web_for_operators(&mut shop, &[]).await;
    let mut browser = Visitor::new(&here.web);
    assert_eq!(log_in(&mut browser, ADA).await, StatusCode::SEE_OTHER);
    let mut copy = Visitor::new(&there.web);
    copy.cookies = browser.cookies.clone();
    let mut other = Visitor::new(&here.web);
    assert_eq!(log_in(&mut other, ADA).await, StatusCode::SEE_OTHER);
    for one in [&mut browser, &mut copy, &mut other] {
        assert_eq!(one.get("/ops").await.status, StatusCode::OK);
    }

    let origin = browser.root.clone();
    let (kept, headers) = (browser.cookies.clone(), [("content-type", FORM), ("origin", origin.as_str())]);
    let closed = browser.send(Method::POST, "/ops/logout", &headers, Some(String::new())).await;
    assert_eq!((closed.status, closed.header("location")), (StatusCode::SEE_OTHER, "/ops/login"));
    assert!(browser.cookies.is_empty());
    browser.cookies = kept;
    for one in [&mut browser, &mut copy] {
        let page = one.get("/ops").await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert!(page.header("location").starts_with("/ops/login"), "{page:?}");
    }
    assert_eq!(other.get("/ops").await.status, StatusCode::OK, "the operator's other session stays open");
    // The log-out is recorded, and its row deleted once the session would have expired.
    assert_eq!(shop.number("SELECT count(*) FROM operations.actions WHERE what = 'console.log-out'").await, 1);
    shop.execute("UPDATE operations.ended_sessions SET expires_at = now() - interval '1 second'").await;
    other.send(Method::POST, "/ops/logout", &headers, Some(String::new())).await;
    assert_eq!(shop.number("SELECT count(*) FROM operations.ended_sessions").await, 1);
    shop.close().await;
}

/// A thousand guesses take days, and an operator at another address notices nothing. Without throttling they took
/// half a second.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_tokens_is_throttled_and_counted_and_operators_elsewhere_are_not_affected() {
    let mut shop = Shop::open().await;
    let proxy = [("TRUSTED_PROXIES", "127.0.0.0/8")];
    let (_, operators) = start_web_for_operators(&mut shop, &proxy).await;
    let ask = async |client: &str, token: &str| {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str()), ("x-forwarded-for", client)];
        operators.web.get("/admin/orders", &headers).await
    };
    let (mut compared, mut throttled) = (0, 0);
    for guess in 0..1_000 {
        let answer = ask("203.0.113.6", &format!("guess {guess}")).await;
        if answer.status == StatusCode::UNAUTHORIZED {
            compared += 1;
        } else {
            refused(&answer, 429, "too-many-attempts", "Try again in");
            assert!(answer.headers["retry-after"].parse::<u64>().is_ok_and(|seconds| (1..=301).contains(&seconds)));
            throttled += 1;
        }
    }
    // Five immediately, then one after 1, 2, 4 ... seconds; the loop lasts a few seconds.
    assert!((5..=10).contains(&compared), "{compared} tokens were compared");
    // Even a correct token is refused during the wait.
    assert_eq!(ask("203.0.113.6", ADA).await.status, StatusCode::TOO_MANY_REQUESTS);
    let metrics = Scrape::of(operators.address).await;
    let counted = |reason: &str| metrics.sum("orderflow_operator_tokens_refused_total", &[("reason", reason)]);
    assert_eq!((counted("wrong"), counted("throttled")), (f64::from(compared), f64::from(throttled + 1)));

    // The console's login form shares the limit.
    let mut guesser = Visitor::new(&operators.web);
    let form = "token=another+guess".to_owned();
    let origin = guesser.root.clone();
    let headers = [("content-type", FORM), ("origin", origin.as_str()), ("x-forwarded-for", "203.0.113.6")];
    let page = guesser.send(Method::POST, "/ops/login", &headers, Some(form)).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "{page:?}");
    assert!(
        page.text.contains("Too many invalid tokens") && page.header("retry-after").parse::<u64>().is_ok(),
        "{page:?}"
    );

    // An operator at another address.
    assert_eq!(ask("203.0.113.7", RITA).await.status, StatusCode::OK);
    assert_eq!(ask("203.0.113.7", ADA).await.status, StatusCode::OK);
    let log = shop.webs()[0].log().join("\n");
    assert!(!log.contains("guess "), "a guessed token is in the log");
    shop.close().await;
}
