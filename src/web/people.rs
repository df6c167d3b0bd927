//! Who gets a problem as a page: people at their browsers. Programs get a document.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{Accept, Header as _},
};
use uuid::Uuid;

use super::{endpoint::Endpoint, problem::Problem};

/// Which paths of a server are for people, and how it shows them a problem. App data of the server.
#[derive(Clone, Copy)]
pub struct ForPeople {
    /// The server's pages.
    pub pages: &'static [Endpoint],
    /// Writes the page. The id is the request's.
    pub page: fn(&HttpRequest, &Problem, Uuid) -> HttpResponse,
}

/// A problem as the client can read it, whatever its status: a page at a page's path, and elsewhere for browsers where the
/// path is none of the API's; a document for everybody else.
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
        // Stylesheets and pictures are loaded by pages. A person may still open one by its address.
        let is_page = self.pages.iter().any(|page| page.path == pattern);
        is_page && (!pattern.starts_with("/assets/") || prefers_html(request))
    }
}

/// Whether the client names HTML and ranks it above JSON, as browsers do where a person opens an address. `*/*`, which
/// programs and scripts send, names nothing.
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
    fn only_clients_that_rank_html_first_get_pages_where_no_path_decides() {
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
