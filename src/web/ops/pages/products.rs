//! `GET /ops/products`, `POST /ops/products/{sku}/stock`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload},
};
use askama::Template;

use super::{Frame, done, page, shown, to};
use crate::{
    store::stock::Level,
    web::{
        ops::{Console, list::Query, products},
        problem::{Code, Problem},
    },
};

#[derive(Template)]
#[template(path = "ops_products.html")]
struct Products {
    frame: Option<Frame>,
    levels: Vec<Level>,
    /// The product that was just set.
    set: Option<String>,
}

impl Products {
    fn may_act(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.may_act)
    }
}

/// Every product and what is available of it.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "products", async |_, frame| {
        let levels = products::levels(&console).await?;
        let set = Query::of(&request).text("set").map(str::to_owned);
        // Only what is one of them is repeated.
        let set = set.filter(|set| levels.iter().any(|level| level.sku == *set));
        Ok(page(&Products { frame: Some(frame), levels, set }))
    })
    .await
}

/// Sets a product's stock.
pub async fn set_stock(
    request: HttpRequest,
    sku: Path<String>,
    payload: Payload,
    console: Data<Console>,
) -> HttpResponse {
    done(&request, payload, &console, "products", async |operator, fields, _| {
        let wrong =
            || Problem::new(Code::InvalidRequest, "How many are available has to be a whole number, 0 or more.");
        let available = fields.parsed("available", "a whole number")?.ok_or_else(wrong)?;
        products::change(&console, operator.actor(&request), sku.clone(), available).await?;
        Ok(to(format!("/ops/products?{}", super::query_string(&[("set", &sku)]))))
    })
    .await
}
