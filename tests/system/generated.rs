//! Generated files match the list of services.

use orderflow_generate::outdated;
use orderflow_service::{Roster, Service};
use orderflow_worker::roster;

use crate::schema::root;

#[test]
fn generated_files_are_those_of_the_list_of_services() {
    let outdated = outdated(&root(), roster()).expect("they can be generated");
    assert_eq!(outdated, [""; 0], "run `make generate`");
}

#[test]
fn nothing_is_generated_for_a_name_that_no_service_can_have() {
    let roster = Roster::new(vec![Service::side("Loyalty", "Is called wrongly.").needs::<()>().done()]);
    let refused = outdated(&root(), &roster).expect_err("it has a capital letter");
    assert!(refused.to_string().contains("expected 2 to 30 lower-case letters"), "{refused}");
}
