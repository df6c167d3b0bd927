//! Generated files match the list of services.

use orderflow_generate::outdated;
use orderflow_service::{Roster, Service};
use orderflow_tests::project::root;
use orderflow_worker::roster;

#[test]
fn generated_files_match_the_list_of_services() {
    let outdated = outdated(root(), roster()).expect("they can be generated");
    assert_eq!(outdated, [""; 0], "run `make generate`");
}

#[test]
fn invalid_service_name_generates_nothing() {
    let roster = Roster::new(vec![Service::side("Loyalty", "Is called wrongly.").needs::<()>().done()]);
    let refused = outdated(root(), &roster).expect_err("it has a capital letter");
    assert!(refused.to_string().contains("expected 2 to 30 lower-case letters"), "{refused}");
}
