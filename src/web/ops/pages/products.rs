//! `GET /ops/products`, `POST /ops/products/{sku}/stock`

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path, Payload},
};
use askama::Template;
use orderflow_worker::services::inventory::stock::Level;

use super::{
    access::{done, shown},
    answer::{Frame, html, page, query_string, to},
};
use crate::{
    ops::stock::{self, Change},
    web::{
        ops::{
            Console,
            list::Query,
            products::{self, Changed},
        },
        problem::{Code, Problem},
    },
};

/// The number of products on one page; each has a form.
const PER_PAGE: usize = 100;

#[derive(Template)]
#[template(path = "ops_products.html")]
struct Products {
    frame: Option<Frame>,
    /// The search text.
    q: String,
    levels: Vec<Level>,
    /// The number of this page, from 1, and the number of pages.
    page: usize,
    pages: usize,
    /// The product that was just set.
    set: Option<Level>,
}

impl Products {
    fn may_act(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.may_act)
    }

    /// Returns the query of the previous page.
    fn previous(&self) -> String {
        query_string(&[("q", &self.q), ("page", &self.page.saturating_sub(1).to_string())])
    }

    /// Returns the query of the next page.
    fn next(&self) -> String {
        query_string(&[("q", &self.q), ("page", &self.page.saturating_add(1).to_string())])
    }
}

/// The page for a change that is based on an outdated stock.
#[derive(Template)]
#[template(path = "ops_stock_changed.html")]
struct StockChanged {
    frame: Option<Frame>,
    sku: String,
    /// The number that the page showed.
    expected: i64,
    /// The number available now.
    now: i64,
    /// The number requested.
    wanted: i64,
}

impl StockChanged {
    /// Returns the difference since the page was shown, as a phrase.
    fn meanwhile(&self) -> String {
        match self.now - self.expected {
            fewer if fewer < 0 => format!("{} fewer", -fewer),
            more => format!("{more} more"),
        }
    }

    /// Returns the result of the same change to the current stock; `None` if nothing was to change or the result is out
    /// of range.
    fn same_change(&self) -> Option<i64> {
        let makes = self.now + self.wanted - self.expected;
        (self.wanted != self.expected && (0..=stock::MOST).contains(&makes)).then_some(makes)
    }

    /// Returns the change with its sign, such as `+12`.
    fn change(&self) -> String {
        format!("{:+}", self.wanted - self.expected)
    }
}

/// Returns the page of products with their stock.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "products", async |_, frame| {
        let query = Query::of(&request);
        let mut levels = products::levels(&console).await?;
        // Only the SKU of a known product is shown again.
        let set = query.text("set").and_then(|set| levels.iter().find(|level| level.sku == set).cloned());
        let q = query.text("q").unwrap_or_default().to_owned();
        let words: Vec<String> = q.split_whitespace().map(str::to_lowercase).collect();
        levels.retain(|level| {
            let text = format!("{} {}", level.name, level.sku).to_lowercase();
            words.iter().all(|word| text.contains(word.as_str()))
        });
        let pages = levels.len().div_ceil(PER_PAGE).max(1);
        let number = query.parsed("page", "a whole number")?.unwrap_or(1).clamp(1, pages);
        let levels = levels.into_iter().skip((number - 1) * PER_PAGE).take(PER_PAGE).collect();
        Ok(page(&Products { frame: Some(frame), q, levels, page: number, pages, set }))
    })
    .await
}

/// Sets a product's stock if it is still the number that the page showed.
pub async fn set_stock(
    request: HttpRequest,
    sku: Path<String>,
    payload: Payload,
    console: Data<Console>,
) -> HttpResponse {
    done(&request, payload, &console, "products", async |operator, fields, frame| {
        let wrong = || Problem::new(Code::InvalidRequest, "The stock must be a whole number, 0 or more.");
        let available = fields.parsed("available", "a whole number")?.ok_or_else(wrong)?;
        let old = || Problem::new(Code::InvalidRequest, "This page was too old. Nothing was changed. Reload the page.");
        let expected = fields.parsed("expected", "a whole number")?.ok_or_else(old)?;
        let wanted = Change { available, expected: Some(expected) };
        match products::change(&console, operator.actor(&request), sku.clone(), wanted).await? {
            Changed::Done { .. } => {
                let text = |name| fields.text(name).unwrap_or_default();
                let query = query_string(&[("set", &sku), ("q", text("q")), ("page", text("page"))]);
                Ok(to(format!("/ops/products?{query}")))
            }
            Changed::Past { available: now } => {
                let (frame, sku) = (Some(frame), sku.clone());
                Ok(html(StatusCode::CONFLICT, &StockChanged { frame, sku, expected, now, wanted: available }))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operator counted the shelf while the stock was what the page showed. Orders have since taken pieces from the
    /// shelf as well, so the same change is right, not the same number.
    #[test]
    fn the_same_change_is_offered_unless_it_goes_below_zero() {
        let page = |expected, now, wanted| StockChanged { frame: None, sku: "MUG".to_owned(), expected, now, wanted };
        let received = page(100, 95, 112);
        assert_eq!((received.same_change(), received.change().as_str()), (Some(107), "+12"));
        assert_eq!(received.meanwhile(), "5 fewer");
        assert_eq!(page(100, 95, 100).same_change(), None, "no change was requested");
        assert_eq!(page(100, 5, 10).same_change(), None, "it would be -85");
        assert_eq!(page(100, 130, 90).meanwhile(), "30 more");
        for page in [page(100, 95, 112), page(100, 95, 100), page(100, 5, 10)] {
            let text = page.render().expect("it can be rendered");
            assert!(text.contains(&page.expected.to_string()) && text.contains(&page.now.to_string()), "{text}");
        }
    }
}
