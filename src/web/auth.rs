//! Who may see an order: whoever has its token.

use actix_web::{HttpRequest, http::header::AUTHORIZATION};
use chrono::Utc;
use uuid::Uuid;

use super::problem::Problem;
use crate::token::OrderLinks;

/// The order that the path names, if the request carries the token that opens it.
///
/// # Errors
/// Always the same 404, whatever is wrong: nobody learns whether an order exists.
pub fn order(request: &HttpRequest, links: &OrderLinks) -> Result<Uuid, Problem> {
    opened(request, links).ok_or_else(Problem::order_not_found)
}

fn opened(request: &HttpRequest, links: &OrderLinks) -> Option<Uuid> {
    let text = request.match_info().get("id")?;
    // One order has one address: other spellings of a UUID that parse all the same are not it.
    let id = text.parse::<Uuid>().ok().filter(|id| id.to_string() == text)?;
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && links.opens(token.trim(), id, Utc::now())).then_some(id)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use url::Url;

    use super::*;
    use crate::{config::LinkConfig, web::problem::Code};

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
}
