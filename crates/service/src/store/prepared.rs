//! Statements that PostgreSQL parses once per connection.

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

/// A statement whose text never changes, only its bound values. See [`Prepare::prepared`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a statement runs when it is loaded or executed"]
pub struct Prepared<Q>(Q);

/// Lets a hand-written statement be prepared once.
pub trait Prepare: Sized {
    /// Keeps the statement prepared on its connection, keyed by its text. Later calls save a round trip, parsing and
    /// usually planning.
    ///
    /// Diesel does this itself for queries that it builds, but not for updates and `sql_query`: their text might differ
    /// at each call and would then fill the server's memory. So call this only for constant text.
    fn prepared(self) -> Prepared<Self> {
        Prepared(self)
    }
}

impl<Q: QueryFragment<Pg>> Prepare for Q {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// The text is the key.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}
