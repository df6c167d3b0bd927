//! Chooses the form of a problem: browsers get a page, programs get a document.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{Accept, Header as _},
};
use uuid::Uuid;

use super::{endpoint::Endpoint, problem::Problem};

/// The pages of a server and its problem page. App data of the server.
#[derive(Clone, Copy)]
pub struct ForPeople {
    /// The server's pages.
    pub pages: &'static [Endpoint],
    /// Renders the problem page. The id is the request's.
    pub page: fn(&HttpRequest, &Problem, Uuid) -> HttpResponse,
}

/// Returns a problem in the form that the client can read, whatever its status. The path of a page gets a page. An
/// unknown path gets a page for browsers and a document for other clients. The paths of the API get a document.
pub fn answer(request: &HttpRequest, problem: &Problem, id: Uuid) -> HttpResponse {
    let people = request.app_data::<ForPeople>().filter(|people| people.is_asked(request));
    let Some(people) = people else { return problem.document(id) };
    let mut page = (people.page)(request, problem, id);
    problem.put_headers(page.headers_mut());
    page
}

impl ForPeople {
    fn is_asked(&self, request: &HttpRequest) -> bool {
        let Some(pattern) = request.match_pattern() else { return prefers_html(request) };
        // Pages load stylesheets and pictures, but a browser may also open one directly.
        let is_page = self.pages.iter().any(|page| page.path == pattern);
        is_page && (!pattern.starts_with("/assets/") || prefers_html(request))
    }
}

/// Returns whether the client names HTML and ranks it above JSON, as browsers do when they open an address. `*/*`,
/// which programs and scripts send, does not name HTML.
fn prefers_html(request: &HttpRequest) -> bool {
    let Ok(accepted) = Accept::parse(request) else { return false };
    let known = ["text/html", "application/json", "application/problem+json"];
    let best = accepted.ranked().into_iter().find(|one| known.contains(&one.essence_str()));
    best.is_some_and(|best| best.essence_str() == "text/html")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn clients_get_pages_at_other_paths_only_if_they_rank_html_first() {
        let asked =
            |accept: &str| prefers_html(&TestRequest::default().insert_header(("accept", accept)).to_http_request());
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert!(asked(browser) && asked("application/json;q=0.5, text/html"));
        for program in ["*/*", "application/json", "text/html;q=0.5, application/json", "image/avif,*/*", "nonsense"] {
            assert!(!asked(program), "{program}");
        }
        assert!(!prefers_html(&TestRequest::default().to_http_request()));
    }
}
