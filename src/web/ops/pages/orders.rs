//! `GET /ops/orders`: the search for orders.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use orderflow_order::domain::OrderStatus;

use super::{
    access::shown,
    answer::{Frame, html, query_string},
    words,
};
use crate::{
    store::search::Listed,
    web::{
        ops::{Console, list::Query, orders},
        problem::Problem,
    },
};

#[derive(Template)]
#[template(path = "ops_orders.html")]
struct Orders {
    frame: Option<Frame>,
    q: String,
    status: String,
    statuses: Vec<&'static str>,
    orders: Vec<Listed>,
    /// The query of the next page.
    next: Option<String>,
    problem: Option<Problem>,
}

impl Orders {
    fn is_status(&self, one: &str) -> bool {
        self.status == one
    }
}

/// Returns the page with the search and its results, or with the problem of the search.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "orders", async |_, frame| {
        let query = Query::of(&request);
        let (q, status) = (query.text("q").unwrap_or_default(), query.text("status").unwrap_or_default());
        let (orders, next, problem) = match orders::found(&console, &query).await {
            Ok(found) => (found.items, found.next_cursor, None),
            Err(problem) => (Vec::new(), None, Some(problem)),
        };
        let next = next.map(|cursor| query_string(&[("q", q), ("status", status), ("cursor", &cursor)]));
        let code = problem.as_ref().map_or(StatusCode::OK, |problem| problem.code().status());
        let statuses = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        let (q, status) = (q.to_owned(), status.to_owned());
        Ok(html(code, &Orders { frame: Some(frame), q, status, statuses, orders, next, problem }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_of_a_search_links_to_the_next() {
        let page = |next: Option<&str>| {
            let (q, status, next) = (String::new(), "cancelled".to_owned(), next.map(str::to_owned));
            let (statuses, orders) = (Vec::new(), Vec::new());
            let page = Orders { frame: None, q, status, statuses, orders, next, problem: None };
            page.render().expect("it can be rendered")
        };
        let (part, whole) = (page(Some("status=cancelled")), page(None));
        assert!(
            part.contains("None of the orders searched so far matches") && part.contains("?status=cancelled\">Older")
        );
        assert!(whole.contains("No order matches") && !whole.contains("Older orders"), "{whole}");
    }
}
