//! Lists, as all of the API has them: `{items, next_cursor}`, and the parameters that say which part.

use std::{collections::HashMap, str::FromStr};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Payload};
use serde::{Serialize, de::DeserializeOwned};

use crate::web::{
    body,
    problem::{Code, Problem},
};

/// Items in a list that says nothing else.
const USUAL: u32 = 50;

/// Items at most.
const MOST: u32 = 200;

/// The parameters of a query; of several of one name the first counts, and an empty one is none.
pub struct Query(HashMap<String, String>);

impl Query {
    /// Of this request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        Self::parse(request.query_string().as_bytes())
    }

    /// Of a query string.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self::from_pairs(url::form_urlencoded::parse(text).into_owned())
    }

    /// Of these names and values.
    #[must_use]
    pub fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Self {
        let mut found = HashMap::new();
        for (name, value) in pairs {
            found.entry(name).or_insert_with(|| value.trim().to_owned());
        }
        Self(found)
    }

    /// A parameter's text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A parameter as something else.
    ///
    /// # Errors
    /// 400, which says what was expected.
    pub fn parsed<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|_| Problem::new(Code::InvalidParameter, format!("{name} has to be {expected}.")))
    }

    /// Where the part begins.
    ///
    /// # Errors
    /// 400 for what no answer of ours has said.
    pub fn cursor<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        self.parsed("cursor", "the next_cursor of the list before, as it is")
    }

    /// How many items.
    ///
    /// # Errors
    /// 400 for less than 1 or more than 200.
    pub fn limit(&self) -> Result<u32, Problem> {
        let expected = "a whole number from 1 to 200";
        let limit = self.parsed("limit", expected)?.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::new(Code::InvalidParameter, format!("limit has to be {expected}.")))
    }
}

/// A part of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// What to ask for the next part with; none: this is the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of what was read, which is one more where there is a next part; it begins after the last item.
    #[must_use]
    pub fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(cursor);
        Self { items, next_cursor }
    }

    /// All there is.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// An answer that nobody keeps.
#[must_use]
pub fn answer(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// The request's body.
///
/// # Errors
/// Those of [`body::json`], and 422 for JSON that is not what is expected.
pub async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Problem> {
    let value = body::json(request, payload).await?;
    serde_json::from_value(value).map_err(|error| Problem::new(Code::InvalidRequest, format!("{error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_the_next_begins_unless_it_is_the_last() {
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
