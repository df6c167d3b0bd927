//! `GET /openapi.json`

use actix_web::{HttpResponse, http::header::ContentType};

/// Written by hand, since it explains more than a document derived from types could. The tests below compare it with
/// the routes and the codes.
const DOCUMENT: &str = include_str!("openapi.json");

/// Returns the description of this API, in OpenAPI 3.1.
pub async fn handle() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::DOCUMENT;
    use crate::web::{
        description::{describes, document, references_lead_somewhere, texts},
        problem::Code,
        routes::ROUTES,
    };
    use orderflow_order::placing::fields::ErrorCode;

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

    /// A client that validates a request against the document finds values that can never be accepted.
    #[test]
    fn its_countries_and_sku_pattern_match_the_servers() {
        let document = document(DOCUMENT);
        let request = &document["components"]["schemas"]["OrderRequest"]["properties"];
        let countries = &request["shipping_address"]["properties"]["country"]["enum"];
        let known: BTreeSet<_> = rust_iso3166::ALL_ALPHA2.iter().map(ToString::to_string).collect();
        assert_eq!(texts(countries), known);
        let sku = request["items"]["items"]["properties"]["sku"]["pattern"].as_str().expect("a pattern");
        let catalogue = include_str!("../../migrations/2026-11-22-000002_catalogue/up.sql");
        assert!(catalogue.contains(&format!("CHECK (sku ~ '{sku}')")), "{sku}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        references_lead_somewhere(&document(DOCUMENT));
    }
}
