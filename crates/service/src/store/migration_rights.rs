//! The rights of a role before the first migration, and the statements that grant the missing ones.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, StoreError, migrations::MigrateError};

/// The rights of the role before the first migration of a set.
#[derive(QueryableByName)]
pub(super) struct Rights {
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    quoted_role: String,
    #[diesel(sql_type = Text)]
    quoted_database: String,
    #[diesel(sql_type = Text)]
    quoted_schema: String,
    #[diesel(sql_type = Bool)]
    makes_schemas: bool,
    #[diesel(sql_type = Bool)]
    makes_tables: bool,
    /// Whether the schema for the list of migrations exists.
    #[diesel(sql_type = Bool)]
    pub(super) has_schema: bool,
}

impl Rights {
    pub(super) async fn read(connection: &mut Connection, schema: &str) -> Result<Self, StoreError> {
        let rights = diesel::sql_query(
            "SELECT current_user::text AS role, quote_ident(current_user) AS quoted_role,
                    quote_ident(current_database()) AS quoted_database, quote_ident($1) AS quoted_schema,
                    has_database_privilege(current_database(), 'CREATE') AS makes_schemas,
                    to_regnamespace(quote_ident($1)) IS NOT NULL AS has_schema,
                    coalesce(has_schema_privilege(to_regnamespace(quote_ident($1))::oid, 'CREATE')
                             AND has_schema_privilege(to_regnamespace(quote_ident($1))::oid, 'USAGE'),
                             false) AS makes_tables",
        );
        Ok(rights.bind::<Text, _>(schema).get_result(connection).await?)
    }

    /// Checks whether the role can set up an empty database: it creates the schemas, and the list of migrations in
    /// `public`.
    pub(super) fn check_shared(&self) -> Result<(), MigrateError> {
        let mut grants = Vec::new();
        if !self.makes_schemas {
            grants.push(self.grant_schemas());
        }
        if !self.has_schema {
            grants.push(format!("CREATE SCHEMA {}", self.quoted_schema));
        }
        if !self.makes_tables {
            grants.push(self.grant_tables());
        }
        self.refused_without(grants)
    }

    /// Checks whether the role can create a service's schema, or tables in it if it exists.
    pub(super) fn check_service(&self) -> Result<(), MigrateError> {
        self.refused_without(match (self.has_schema, self.makes_tables, self.makes_schemas) {
            (true, true, _) | (false, _, true) => Vec::new(),
            (true, false, _) => vec![self.grant_tables()],
            (false, _, false) => vec![self.grant_schemas()],
        })
    }

    fn grant_schemas(&self) -> String {
        format!("GRANT CREATE ON DATABASE {} TO {}", self.quoted_database, self.quoted_role)
    }

    fn grant_tables(&self) -> String {
        format!("GRANT USAGE, CREATE ON SCHEMA {} TO {}", self.quoted_schema, self.quoted_role)
    }

    fn refused_without(&self, grants: Vec<String>) -> Result<(), MigrateError> {
        if grants.is_empty() { Ok(()) } else { Err(MigrateError::Rights { role: self.role.clone(), grants }) }
    }
}
