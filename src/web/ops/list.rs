//! The form of all lists in the API: `{items, next_cursor}`, and the parameters that select a page.

use std::{collections::HashMap, str::FromStr};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Payload};
use serde::{Serialize, de::DeserializeOwned};

use crate::web::{
    body,
    problem::{Code, Problem},
};

/// The default number of items in a page.
const USUAL: u32 = 50;

/// The most items in a page.
const MOST: u32 = 200;

/// The parameters of a query. Of several with the same name the first counts; an empty one counts as absent.
pub struct Query(HashMap<String, String>);

impl Query {
    /// Reads the parameters of this request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        Self::parse(request.query_string().as_bytes())
    }

    /// Reads the parameters of a query string.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self::from_pairs(url::form_urlencoded::parse(text).into_owned())
    }

    /// Reads the parameters from these names and values.
    #[must_use]
    pub fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Self {
        let mut found = HashMap::new();
        for (name, value) in pairs {
            found.entry(name).or_insert_with(|| value.trim().to_owned());
        }
        Self(found)
    }

    /// Returns a parameter's text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Parses a parameter.
    ///
    /// # Errors
    /// 400, naming what was expected.
    pub fn parsed<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|_| Problem::new(Code::InvalidParameter, format!("{name} must be {expected}.")))
    }

    /// Returns the cursor at which the page begins.
    ///
    /// # Errors
    /// 400 for text that is not a cursor.
    pub fn cursor<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        self.parsed("cursor", "the unchanged next_cursor of the previous page")
    }

    /// Returns the number of items to return.
    ///
    /// # Errors
    /// 400 for less than 1 or more than 200.
    pub fn limit(&self) -> Result<u32, Problem> {
        let expected = "a whole number from 1 to 200";
        let limit = self.parsed("limit", expected)?.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::new(Code::InvalidParameter, format!("limit must be {expected}.")))
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of the first `limit` items. The caller reads `limit + 1`: one more item means that there is a next
    /// page, which begins after the last item of this one.
    #[must_use]
    pub fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(cursor);
        Self { items, next_cursor }
    }

    /// Makes a page of the whole list.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// Returns an answer that must not be cached.
#[must_use]
pub fn answer(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// Parses the request's body.
///
/// # Errors
/// Returns the errors of [`body::json`], and 422 for JSON of another shape.
pub async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Problem> {
    let value = body::json(request, payload).await?;
    serde_json::from_value(value).map_err(|error| Problem::new(Code::InvalidRequest, format!("{error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_but_the_last_has_a_next_cursor() {
        let part = |items: Vec<u32>| {
            let page = Page::of(items, 2, ToString::to_string);
            (page.items, page.next_cursor)
        };
        assert_eq!(part(vec![9, 8, 7]), (vec![9, 8], Some("8".to_owned())));
        assert_eq!(part(vec![9, 8]), (vec![9, 8], None));
        assert_eq!(part(vec![]), (vec![], None));
    }

    #[test]
    fn parameters_are_checked() {
        let query = Query::parse(b"q=+ada%40example.org+&status=&limit=201&cursor=x&q=other");
        assert_eq!((query.text("q"), query.text("status")), (Some("ada@example.org"), None));
        let code = |refused: Problem| refused.code();
        assert_eq!(query.limit().map_err(code), Err(Code::InvalidParameter));
        assert_eq!(query.cursor::<i64>().map_err(code), Err(Code::InvalidParameter));
        assert_eq!(Query::parse(b"limit=0").limit().map_err(code), Err(Code::InvalidParameter));
        assert_eq!(Query::parse(b"").limit().ok(), Some(50));
    }
}
