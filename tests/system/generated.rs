//! What follows from the list of services is written down as it follows.

use orderflow_generate::outdated;
use orderflow_worker::roster;

use crate::schema::root;

#[test]
fn generated_files_are_those_of_the_list_of_services() {
    let outdated = outdated(&root(), roster()).expect("they can be made");
    assert_eq!(outdated, [""; 0], "run `make generate`");
}
