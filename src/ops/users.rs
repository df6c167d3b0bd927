//! Which of Orderflow's users on RabbitMQ are missing, or have other rights in the virtual host than they should have.

use super::lack::Lack;
use crate::broker::{Management, ManagementError, Rights};

/// Without these two, nothing runs; the others are for people.
const NEEDED: [&str; 2] = ["orderflow-web", "orderflow-worker"];

/// What is wrong with them; only an administrator may ask. `exist` are the names of all users.
///
/// # Errors
/// See [`ManagementError`].
pub async fn lacks(management: &Management, exist: &[String]) -> Result<Vec<Lack>, ManagementError> {
    let rights = management.rights().await?;
    let mut lacks = needed(exist, &rights);
    lacks.extend(management.wrongly_permitted(&rights).into_iter().map(|user| Lack {
        what: format!("The user {user} has other rights in this virtual host than it should have"),
        remedy: "`orderflow topology apply` sets them; who may read a queue may also purge it".to_owned(),
    }));
    Ok(lacks)
}

/// Those who are needed exist and may do their work.
fn needed(exist: &[String], rights: &[(String, Rights)]) -> Vec<Lack> {
    let lack = |user: &&str| {
        if !exist.iter().any(|one| one == user) {
            let name = user.trim_start_matches("orderflow-").to_uppercase();
            let remedy = format!("set AMQP_{name}_PASSWORD to its password, then `orderflow topology apply`");
            return Some(Lack { what: format!("RabbitMQ has no user {user}"), remedy });
        }
        let may = rights.iter().any(|(one, _)| one == user);
        (!may).then(|| Lack {
            what: format!("The user {user} may do nothing in this virtual host"),
            remedy: "`orderflow topology apply` gives it its rights, and needs no password for that".to_owned(),
        })
    };
    NEEDED.iter().filter_map(lack).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(exist: &[&str], permitted: &[&str]) -> Vec<String> {
        let exist: Vec<String> = exist.iter().map(|user| (*user).to_owned()).collect();
        let rights: Vec<_> = permitted.iter().map(|user| ((*user).to_owned(), Rights::default())).collect();
        needed(&exist, &rights).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn users_who_are_missing_or_may_nothing_are_found() {
        assert_eq!(found(&NEEDED, &NEEDED), Vec::<String>::new());
        assert_eq!(
            found(&["orderflow-web", "root"], &["root"]),
            [
                "The user orderflow-web may do nothing in this virtual host: `orderflow topology apply` gives it its \
                 rights, and needs no password for that",
                "RabbitMQ has no user orderflow-worker: set AMQP_WORKER_PASSWORD to its password, then `orderflow \
                 topology apply`",
            ]
        );
    }
}
