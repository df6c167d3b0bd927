//! `GET /admin/openapi.json`

use actix_web::{HttpResponse, http::header::ContentType};

/// Written by hand, like the customers' document. The tests below compare it with the routes and the codes.
const DOCUMENT: &str = include_str!("openapi.json");

/// Returns the description of the operators' API, in OpenAPI 3.1. It contains nothing about this shop, so it needs no
/// token.
pub async fn handle() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::DOCUMENT;
    use crate::web::{
        description::{describes, document, references_lead_somewhere, texts},
        ops::ROUTES,
        problem::Code,
    };

    #[test]
    fn it_describes_every_route_and_no_other_and_which_take_a_token() {
        let document = document(DOCUMENT);
        describes(&document, ROUTES);
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let answers = operation["responses"].as_object().expect("responses");
                let open = path == "/admin/openapi.json";
                assert_eq!(answers.contains_key("401"), !open, "{method} {path}: whether it needs a token");
            }
        }
    }

    #[test]
    fn it_lists_every_problem_of_operators() {
        let listed = texts(&document(DOCUMENT)["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]);
        for code in Code::ALL.iter().filter(|code| code.is_for_operators()) {
            assert!(listed.contains(&format!("/problems/{}", code.as_str())), "{code:?} is not described");
        }
        let known: BTreeSet<_> = Code::ALL.iter().map(|code| format!("/problems/{}", code.as_str())).collect();
        assert!(listed.is_subset(&known), "{:?} do not exist", listed.difference(&known));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        references_lead_somewhere(&document(DOCUMENT));
    }
}
