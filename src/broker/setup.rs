//! Makes what has to exist on the broker: virtual host, users, and everything of [`Topology`].

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

/// What [`Management::apply`] could not do, or left out on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// A sentence each, with what to do about it.
    pub notes: Vec<String>,
    /// Whether something that the settings ask for was not done.
    pub is_short: bool,
}

impl Management {
    /// Makes the virtual host, the users and everything of [`Topology`]. What exists is left as it is, so this is safe
    /// to repeat and from many hosts at once. An object that exists with other arguments is *not* changed: see
    /// [`Management::live`].
    ///
    /// Without the tag `administrator`, our user makes what it may in a virtual host that exists; the notes name the rest.
    ///
    /// # Errors
    /// See [`ManagementError`]; what was made before it stays.
    pub async fn apply(&self, roster: &Roster, topology: &Topology) -> Result<Applied, ManagementError> {
        let who = self.whoami().await?;
        if !who.is_administrator() {
            return self.apply_without_administrator(&who.name, roster, topology).await;
        }
        self.put(&format!("vhosts/{}", self.vhost()), &json!({})).await?;
        let exist = self.user_names().await?;
        let mut applied = Applied::default();
        for user in self.users(roster) {
            let exists = exist.contains(&user.name);
            if user.name == INSPECTOR && user.password.is_none() && !exists {
                applied.notes.push(format!(
                    "RabbitMQ has no user {INSPECTOR}, and AMQP_INSPECTOR_PASSWORD is not set to make it: only \
                     administrators can read dead letters in RabbitMQ's management UI."
                ));
            }
            self.apply_user(&user, exists).await?;
        }
        self.request(Method::POST, &format!("definitions/{}", self.vhost()), Some(topology)).await?;
        for policy in self.retired_policies().await? {
            self.delete_policy(&policy).await?;
        }
        Ok(applied)
    }

    /// Returns the names of the policies of earlier versions that there still are.
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

    /// Makes the user where a password is set, and sets the rights in this virtual host of every user that exists. Users
    /// are the whole broker's: in a further virtual host they exist, with passwords that these settings need not have. Rights
    /// follow the services that there are: with old ones a worker could not read a new service's queues.
    async fn apply_user(&self, user: &User, exists: bool) -> Result<(), ManagementError> {
        if let Some(password) = &user.password {
            let body = json!({ "password": password.expose_secret(), "tags": user.tags });
            self.put_user(&user.name, &body).await?;
        }
        if user.password.is_some() || exists {
            // Before the right to publish at all: without topic rights a user may publish everything.
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

    /// Where two make a user at once, RabbitMQ refuses all but the first instead of bringing it up to date
    /// (seen with 3.10.8: 8 of 64 at once). It exists then, so that asking once more does.
    async fn put_user(&self, name: &str, body: &Value) -> Result<(), ManagementError> {
        let path = format!("users/{name}");
        match self.put(&path, body).await {
            Err(ManagementError::Refused { reason, .. }) if reason.contains("user_already_exists") => {
                self.put(&path, body).await
            }
            done => done,
        }
    }

    /// Definitions can be imported by an administrator alone, so what is missing is made one by one. The virtual host
    /// has to exist.
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
            "Not made or brought up to date: {users}. For this AMQP_ADMIN_URL's user ({me}) needs the tag administrator; \
             or an administrator makes them, or every program uses a user that there is."
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
        applied.notes.extend(refused.into_iter().map(|(what, needs)| {
            format!("{what} could not be made: for this AMQP_ADMIN_URL's user ({me}) needs {needs}.")
        }));
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix_web::{App, HttpResponse, HttpServer, web};

    use super::*;
    use orderflow_service::config::{AdminConfig, Source};

    /// A management API that says `refusal` to the first that makes a user, and takes everything else.
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
    async fn whoever_comes_second_with_a_user_brings_it_up_to_date() {
        let raced = r#"{"error":"bad_request","reason":["user_already_exists","orderflow-web"]}"#;
        let (management, asked) = refusing_once(raced).await;
        management.put_user("orderflow-web", &json!({})).await.expect("it is there now");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[actix_web::test]
    async fn any_other_refusal_of_a_user_is_told() {
        let (management, asked) = refusing_once(r#"{"error":"bad_request","reason":"tags_not_atoms"}"#).await;
        let refused = management.put_user("orderflow-web", &json!({})).await.expect_err("it was refused");
        assert!(refused.to_string().contains("tags_not_atoms"), "{refused}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
