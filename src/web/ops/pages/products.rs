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

/// Products on one page: a form each.
const PER_PAGE: usize = 100;

#[derive(Template)]
#[template(path = "ops_products.html")]
struct Products {
    frame: Option<Frame>,
    /// What they are searched for.
    q: String,
    levels: Vec<Level>,
    /// Which part, from 1 on, of how many.
    page: usize,
    pages: usize,
    /// The product that was just set.
    set: Option<Level>,
}

impl Products {
    fn may_act(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.may_act)
    }

    /// The query of the part before.
    fn previous(&self) -> String {
        query_string(&[("q", &self.q), ("page", &self.page.saturating_sub(1).to_string())])
    }

    /// The query of the part after.
    fn next(&self) -> String {
        query_string(&[("q", &self.q), ("page", &self.page.saturating_add(1).to_string())])
    }
}

/// The stock is another than the one that a change is based on.
#[derive(Template)]
#[template(path = "ops_stock_changed.html")]
struct StockChanged {
    frame: Option<Frame>,
    sku: String,
    /// What the page showed.
    expected: i64,
    /// What is available now.
    now: i64,
    /// What was asked for.
    wanted: i64,
}

impl StockChanged {
    /// How many came or went meanwhile, as a phrase.
    fn meanwhile(&self) -> String {
        match self.now - self.expected {
            fewer if fewer < 0 => format!("{} fewer", -fewer),
            more => format!("{more} more"),
        }
    }

    /// What the same change makes of what there is now; none where it would take more than there is.
    fn same_change(&self) -> Option<i64> {
        let makes = self.now + self.wanted - self.expected;
        (self.wanted != self.expected && (0..=stock::MOST).contains(&makes)).then_some(makes)
    }

    /// `+12`.
    fn change(&self) -> String {
        format!("{:+}", self.wanted - self.expected)
    }
}

/// Products and what is available of each.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "products", async |_, frame| {
        let query = Query::of(&request);
        let mut levels = products::levels(&console).await?;
        // Only what is one of them is repeated.
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

/// Sets a product's stock, if it is still the one that was shown.
pub async fn set_stock(
    request: HttpRequest,
    sku: Path<String>,
    payload: Payload,
    console: Data<Console>,
) -> HttpResponse {
    done(&request, payload, &console, "products", async |operator, fields, frame| {
        let wrong =
            || Problem::new(Code::InvalidRequest, "How many are available has to be a whole number, 0 or more.");
        let available = fields.parsed("available", "a whole number")?.ok_or_else(wrong)?;
        let old = || Problem::new(Code::InvalidRequest, "This page was too old. Nothing is changed: open it again.");
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

    /// What a person counted was counted while there were as many as the page showed: what orders took since is gone from
    /// the shelf as well, so the same change is right, and not the same number.
    #[test]
    fn the_same_change_is_offered_and_never_below_zero() {
        let page = |expected, now, wanted| StockChanged { frame: None, sku: "MUG".to_owned(), expected, now, wanted };
        let received = page(100, 95, 112);
        assert_eq!((received.same_change(), received.change().as_str()), (Some(107), "+12"));
        assert_eq!(received.meanwhile(), "5 fewer");
        assert_eq!(page(100, 95, 100).same_change(), None, "nothing was to be changed");
        assert_eq!(page(100, 5, 10).same_change(), None, "it would be -85");
        assert_eq!(page(100, 130, 90).meanwhile(), "30 more");
        for page in [page(100, 95, 112), page(100, 95, 100), page(100, 5, 10)] {
            let text = page.render().expect("it can be rendered");
            assert!(text.contains(&page.expected.to_string()) && text.contains(&page.now.to_string()), "{text}");
        }
    }
}
