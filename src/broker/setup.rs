//! Creates what must exist on the broker: the virtual host, the users, and every object of [`Topology`].

use std::collections::BTreeSet;

use orderflow_service::{Roster, broker::names};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Management, ManagementError, Topology,
    topology::{POLICY_NEEDS, RETIRED_POLICIES},
    users::{INSPECTOR, Rights, TopicRights, User},
};

/// What [`Management::apply`] could not do, or left out deliberately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// What was not done, one note each, with what to do about it.
    pub notes: Vec<String>,
    /// Whether something that the settings require was not done.
    pub is_short: bool,
}

impl Management {
    /// Creates the virtual host, the users and every object of [`Topology`].
    ///
    /// Existing objects are left as they are, so this is safe to repeat, even from many hosts concurrently. An object
    /// that exists with other arguments is *not* changed: see [`Management::live`].
    ///
    /// Without the tag `administrator`, our user creates what it may in an existing virtual host. The notes name the
    /// rest.
    ///
    /// # Errors
    /// See [`ManagementError`]. Objects created before the error stay.
    pub async fn apply(&self, roster: &Roster, topology: &Topology) -> Result<Applied, ManagementError> {
        let who = self.whoami().await?;
        if !who.is_administrator() {
            return self.apply_without_administrator(&who.name, roster, topology).await;
        }
        self.put(&format!("vhosts/{}", self.vhost()), &json!({})).await?;
        // Before the users: RabbitMQ 4.3 refuses topic rights on an exchange that does not exist.
        self.request(Method::POST, &format!("definitions/{}", self.vhost()), Some(topology)).await?;
        let exist = self.user_names().await?;
        let mut applied = Applied::default();
        for user in self.users(roster) {
            let exists = exist.contains(&user.name);
            if user.name == INSPECTOR && user.password.is_none() && !exists {
                applied.notes.push(format!(
                    "RabbitMQ has no user {INSPECTOR}, and AMQP_INSPECTOR_PASSWORD is not set, so it was not created: only \
                     administrators can read dead letters in RabbitMQ's management UI."
                ));
            }
            self.apply_user(&user, exists).await?;
        }
        for policy in self.retired_policies().await? {
            self.delete_policy(&policy).await?;
        }
        Ok(applied)
    }

    /// Returns the names of the policies of earlier versions that still exist.
    async fn retired_policies(&self) -> Result<Vec<String>, ManagementError> {
        let names = self.live().await?.policies.into_iter().map(|policy| policy.name);
        Ok(names.filter(|name| RETIRED_POLICIES.contains(&name.as_str())).collect())
    }

    /// Deletes a policy, unless another host has just done so.
    async fn delete_policy(&self, name: &str) -> Result<(), ManagementError> {
        let path = format!("policies/{}/{name}", self.vhost());
        match self.request(Method::DELETE, &path, None::<&()>).await {
            Err(error) if error.is_not_found() => Ok(()),
            done => done.map(drop),
        }
    }

    /// Creates or updates the user if a password is set, and sets the user's rights in this virtual host if it exists.
    ///
    /// Users belong to the whole broker. In a further virtual host they already exist, and these settings need not have
    /// their passwords. Rights depend on the list of services: with old rights a worker could not read a new service's
    /// queues.
    async fn apply_user(&self, user: &User, exists: bool) -> Result<(), ManagementError> {
        if let Some(password) = &user.password {
            let body = json!({ "password": password.expose_secret(), "tags": user.tags });
            self.put_user(&user.name, &body).await?;
        }
        if user.password.is_some() || exists {
            // Before the right to publish: without topic rights a user may publish every event.
            if let Some(TopicRights { write, read }) = &user.topics {
                let body = json!({ "exchange": names::EVENTS, "write": write, "read": read });
                self.put(&format!("topic-permissions/{}/{}", self.vhost(), user.name), &body).await?;
            }
            let Rights { configure, write, read } = &user.rights;
            let body = json!({ "configure": configure, "write": write, "read": read });
            self.put(&format!("permissions/{}/{}", self.vhost(), user.name), &body).await?;
        }
        Ok(())
    }

    /// If hosts create a user concurrently, RabbitMQ may refuse a later request instead of updating the user (seen with
    /// 3.10.8: 8 of 64 concurrent requests). The user exists by then, so a second request updates it.
    async fn put_user(&self, name: &str, body: &Value) -> Result<(), ManagementError> {
        let path = format!("users/{name}");
        match self.put(&path, body).await {
            Err(ManagementError::Refused { reason, .. }) if reason.contains("user_already_exists") => {
                self.put(&path, body).await
            }
            done => done,
        }
    }

    /// Creates missing objects one by one, since only an administrator can import definitions. The virtual host must
    /// exist.
    async fn apply_without_administrator(
        &self,
        me: &str,
        roster: &Roster,
        topology: &Topology,
    ) -> Result<Applied, ManagementError> {
        let users = self.users(roster).into_iter();
        let asked: Vec<String> = users.filter(|user| user.password.is_some()).map(|user| user.name).collect();
        let mut applied = Applied { is_short: !asked.is_empty(), ..Applied::default() };
        let users = if asked.is_empty() { "users and their rights".to_owned() } else { asked.join(", ") };
        applied.notes.push(format!(
            "Not created or updated: {users}. AMQP_ADMIN_URL's user ({me}) needs the tag administrator for this. \
             Otherwise an administrator must create them, or every program must use an existing user."
        ));
        let mut refused = BTreeSet::new();
        for object in topology.lacking_in(&self.live().await?) {
            let path = object.path(&self.vhost());
            match self.request(object.method(), &path, Some(&object)).await {
                Ok(_) => {}
                Err(error) if error.is_forbidden() => drop(refused.insert(object.needs())),
                Err(error) => return Err(error),
            }
        }
        for policy in self.retired_policies().await? {
            match self.delete_policy(&policy).await {
                Err(error) if error.is_forbidden() => drop(refused.insert(POLICY_NEEDS)),
                done => done?,
            }
        }
        applied.notes.extend(
            refused.into_iter().map(|(what, needs)| {
                format!("{what} could not be created: AMQP_ADMIN_URL's user ({me}) needs {needs}.")
            }),
        );
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix_web::{App, HttpResponse, HttpServer, web};

    use super::*;
    use orderflow_service::config::{AdminConfig, Source};

    /// A management API that refuses the first request for a user with `refusal`, and accepts every later one.
    async fn refusing_once(refusal: &'static str) -> (Management, web::Data<AtomicUsize>) {
        let asked = web::Data::new(AtomicUsize::new(0));
        let (seen, counted) = (asked.clone(), asked.clone());
        let server = HttpServer::new(move || {
            let users = web::put().to(move |asked: web::Data<AtomicUsize>| async move {
                match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => HttpResponse::BadRequest().body(refusal),
                    _ => HttpResponse::NoContent().finish(),
                }
            });
            App::new().app_data(counted.clone()).route("/api/users/{name}", users)
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("a port is free");
        let address = server.addrs().first().copied().expect("it listens");
        tokio::spawn(server.run());
        let settings = [
            ("AMQP_ADMIN_URL", "amqp://admin:secret@127.0.0.1:1/shop".to_owned()),
            ("RABBITMQ_MANAGEMENT_URL", format!("http://{address}")),
        ];
        let source: Source = settings.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        (Management::new(AdminConfig::read(&source).expect("complete")).expect("a client"), seen)
    }

    #[actix_web::test]
    async fn user_that_another_host_just_created_is_updated() {
        let raced = r#"{"error":"bad_request","reason":["user_already_exists","orderflow-web"]}"#;
        let (management, asked) = refusing_once(raced).await;
        management.put_user("orderflow-web", &json!({})).await.expect("it is there now");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[actix_web::test]
    async fn any_other_refusal_of_a_user_is_an_error() {
        let (management, asked) = refusing_once(r#"{"error":"bad_request","reason":"tags_not_atoms"}"#).await;
        let refused = management.put_user("orderflow-web", &json!({})).await.expect_err("it was refused");
        assert!(refused.to_string().contains("tags_not_atoms"), "{refused}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
