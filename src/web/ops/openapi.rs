//! `GET /admin/openapi.json`

use actix_web::{HttpResponse, http::header::ContentType};

/// Kept by hand, as the customers' description is; the tests below hold it against the routes and the codes.
const DOCUMENT: &str = include_str!("openapi.json");

/// The description of the operators' interface, in OpenAPI 3.1. It says nothing of this shop, so it takes no token.
pub async fn handle() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::web::{ops::ROUTES, problem::Code};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("JSON")
    }

    #[test]
    fn it_describes_every_route_and_no_other() {
        let document = document();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                described.insert(format!("{} {path}", method.to_uppercase()));
                let answers = operation["responses"].as_object().expect("responses");
                let open = path == "/admin/openapi.json";
                assert_eq!(answers.contains_key("401"), !open, "{method} {path}: whether it takes a token");
            }
        }
        let routes: BTreeSet<_> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn it_lists_every_problem_of_operators() {
        let document = document();
        let listed = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"].as_array();
        let listed: BTreeSet<_> =
            listed.expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect();
        let ours = Code::ALL.iter().filter(|code| code.is_for_operators());
        for code in ours {
            assert!(listed.contains(&format!("/problems/{}", code.as_str())), "{code:?} is not described");
        }
        let known: BTreeSet<_> = Code::ALL.iter().map(|code| format!("/problems/{}", code.as_str())).collect();
        assert!(listed.is_subset(&known), "{:?} do not exist", listed.difference(&known));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(elements) => elements.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let (document, mut found) = (document(), Vec::new());
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
