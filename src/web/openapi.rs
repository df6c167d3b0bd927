//! `GET /openapi.json`

use actix_web::{HttpResponse, http::header::ContentType};

/// Kept by hand, since a description for people says more than one derived from types; the tests below hold it
/// against the routes and the codes.
const DOCUMENT: &str = include_str!("openapi.json");

/// The description of this interface, in OpenAPI 3.1.
pub async fn handle() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::DOCUMENT;
    use crate::web::{
        ROUTES,
        description::{describes, document, references_lead_somewhere, texts},
        fields::ErrorCode,
        problem::Code,
    };

    #[test]
    fn it_describes_every_route_and_no_other() {
        describes(&document(DOCUMENT), ROUTES);
    }

    #[test]
    fn it_lists_every_problem_and_every_error_code_and_no_other() {
        let problem = &document(DOCUMENT)["components"]["schemas"]["Problem"]["properties"];
        let problems: BTreeSet<_> = Code::ALL
            .iter()
            .filter(|code| !code.is_for_operators())
            .map(|code| format!("/problems/{}", code.as_str()))
            .collect();
        assert_eq!(texts(&problem["type"]["enum"]), problems);
        let codes: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
        assert_eq!(texts(&problem["errors"]["items"]["properties"]["code"]["enum"]), codes);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        references_lead_somewhere(&document(DOCUMENT));
    }
}
