//! `GET /products`

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{
    Error, HttpResponse,
    body::{MessageBody, SizedStream},
    http::header::{self, ContentType},
    web::{Bytes, Data},
};
use futures::stream;
use orderflow_order::{placing::catalogue::Catalogue, store::catalogue::Product};
use serde::Serialize;

use super::{
    app::App,
    problem::{Code, Problem},
};

/// The number of bytes that are copied at once from the answer into a connection's buffer, which holds 32 KiB and at
/// most one piece more.
const PIECE: usize = 16 * 1024;

#[derive(Serialize)]
struct Answer<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    sku: &'a str,
    name: &'a str,
    price: i64,
    currency: &'a str,
    in_stock: bool,
}

/// The latest catalogue as JSON. Encoding fifteen thousand products kept a server thread busy for 65 ms (a debug build,
/// 1 December 2026), so each catalogue is encoded once and not for each client.
#[derive(Default)]
pub struct EncodedCatalogue(Mutex<Option<(Arc<Catalogue>, Bytes)>>);

impl EncodedCatalogue {
    /// Returns the encoded catalogue. Cheap if it is the same as in the previous call.
    fn of(&self, catalogue: Arc<Catalogue>) -> serde_json::Result<Bytes> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((encoded_from, encoded)) = &*latest
            && Arc::ptr_eq(encoded_from, &catalogue)
        {
            return Ok(encoded.clone());
        }
        let items = catalogue.products().iter().map(item).collect();
        let encoded = Bytes::from(serde_json::to_vec(&Answer { items })?);
        *latest = Some((catalogue, encoded.clone()));
        Ok(encoded)
    }
}

/// Returns the catalogue, at most about a second old while the database answers.
///
/// # Errors
/// 503 before the first database connection.
pub async fn handle(app: Data<App>) -> Result<HttpResponse, Error> {
    let catalogue = app
        .placing
        .catalogue()
        .ok_or_else(|| Problem::new(Code::DatabaseUnavailable, "Try again soon.").retry_after(2))?;
    let encoded = app.encoded_catalogue.of(catalogue)?;
    let mut answer = HttpResponse::Ok();
    Ok(answer
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .content_type(ContentType::json())
        .body(in_pieces(encoded)))
}

/// Returns a body that is copied as the client reads it. Two megabytes at once would stay in memory for each client that
/// does not read them.
fn in_pieces(bytes: Bytes) -> impl MessageBody {
    // A length in memory fits.
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let pieces = (0..bytes.len()).step_by(PIECE).map(move |start| {
        let end = bytes.len().min(start.saturating_add(PIECE));
        Ok::<_, Infallible>(bytes.slice(start..end))
    });
    SizedStream::new(length, stream::iter(pieces))
}

fn item(product: &Product) -> Item<'_> {
    let Product { sku, name, price, currency, available } = product;
    Item { sku, name, price: *price, currency, in_stock: *available > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(price: i64) -> Arc<Catalogue> {
        let (sku, name, currency) = ("MUG-BLUE".to_owned(), "Blue mug".to_owned(), "EUR".to_owned());
        Arc::new(Catalogue::new(vec![Product { sku, name, price, currency, available: 5 }]))
    }

    #[tokio::test]
    async fn pieces_make_up_the_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 3] {
            let whole: Bytes = (0..length).map(|number| number.to_le_bytes()[0]).collect();
            let received = actix_web::body::to_bytes(in_pieces(whole.clone())).await;
            assert!(received.is_ok_and(|received| received == whole), "{length}");
        }
    }

    #[test]
    fn catalogue_is_encoded_once_until_it_changes() {
        let (encoded, first) = (EncodedCatalogue::default(), catalogue(1499));
        let of = |catalogue: &Arc<Catalogue>| encoded.of(Arc::clone(catalogue)).expect("JSON");
        let answer = of(&first);
        assert_eq!(
            answer,
            r#"{"items":[{"sku":"MUG-BLUE","name":"Blue mug","price":1499,"currency":"EUR","in_stock":true}]}"#
        );
        assert_eq!(of(&first).as_ptr(), answer.as_ptr(), "the same bytes");
        let changed = of(&catalogue(1750));
        assert!(changed.windows(4).any(|digits| digits == b"1750"), "{changed:?}");
    }
}
