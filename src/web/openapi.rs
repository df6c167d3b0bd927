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

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::web::{ROUTES, fields::ErrorCode, problem::Code};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("JSON")
    }

    fn texts(value: &Value) -> BTreeSet<String> {
        value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    }

    #[test]
    fn it_describes_every_route_and_no_other() {
        let document = document();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            described
                .extend(methods.as_object().expect("methods").keys().map(|m| format!("{} {path}", m.to_uppercase())));
        }
        let routes: BTreeSet<_> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn it_lists_every_problem_and_every_error_code_and_no_other() {
        let problem = &document()["components"]["schemas"]["Problem"]["properties"];
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
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
