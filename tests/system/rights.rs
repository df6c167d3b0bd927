//! The rights of RabbitMQ's users. The right to read a queue includes getting, acknowledging and purging its
//! messages; RabbitMQ has no right to look without taking.

use lapin::{
    Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions},
};
use orderflow_events::EventKind;
use orderflow_service::broker::names;
use orderflow_tests::{Ended, Shop, VISA, queues, run};
use orderflow_worker::roster;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    commands::{ended, with},
    dead_letters::PAYMENT,
    doctor::doctor,
    republish::topology_apply,
};

const VIEWER: &str = "orderflow-viewer";
pub const INSPECTOR: &str = "orderflow-inspector";

/// How the management UI gets messages: with or without putting them back.
const REQUEUE: &str = "ack_requeue_true";
pub const REMOVE: &str = "ack_requeue_false";

/// Does *Get messages* of the management UI as one of our users.
pub async fn get(shop: &Shop, user: &str, queue: &str, mode: &str) -> (StatusCode, Value) {
    let password = shop.servers.password(user);
    let body = json!({ "count": 10, "ackmode": mode, "encoding": "auto" });
    shop.manage_as((user, &password), Method::POST, &format!("queues/{{vhost}}/{queue}/get"), &body).await
}

/// Does *Purge messages* of the management UI as one of our users.
pub async fn purge(shop: &Shop, user: &str, queue: &str) -> StatusCode {
    let password = shop.servers.password(user);
    let path = format!("queues/{{vhost}}/{queue}/contents");
    shop.manage_as((user, &password), Method::DELETE, &path, &Value::Null).await.0
}

/// Puts a message into each kind of queue. Returns the shop and the queues' names.
async fn with_messages_everywhere() -> (Shop, [String; 4]) {
    let shop = Shop::open().await;
    let probe = shop.probe().await;
    let (work, dead) = (PAYMENT.queue(), PAYMENT.dead_letter_queue());
    probe.publish(names::RETURN, &work, b"{}").await;
    probe.publish(names::DEAD_LETTERS, &work, b"{}").await;
    probe.publish(names::EVENTS, "order.teleported", b"{}").await;
    // This message waits in the tier for a second, then returns to a queue that does not exist and becomes unrouted.
    probe.publish("orders.retry.1s", "gone", b"{}").await;
    probe.until_waiting(names::UNROUTED, 2).await;
    (shop, [work, dead, names::UNROUTED.to_owned(), "orders.retry.1s".to_owned()])
}

/// Trial F6: the viewer could empty a dead-letter queue by `DELETE …/contents`, and by getting with acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn viewer_sees_queues_and_connections_and_no_message() {
    let (shop, queues) = with_messages_everywhere().await;
    let password = shop.servers.password(VIEWER);
    for queue in &queues {
        for mode in [REQUEUE, REMOVE] {
            let (status, answer) = get(&shop, VIEWER, queue, mode).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{queue} {mode}: {answer}");
        }
        assert_eq!(purge(&shop, VIEWER, queue).await, StatusCode::UNAUTHORIZED, "{queue}");
    }
    let connection = Connection::connect(shop.broker_url(VIEWER).as_str(), ConnectionProperties::default())
        .await
        .expect("the user may connect");
    for queue in &queues {
        let channel = connection.create_channel().await.expect("a channel");
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
        assert!(got.is_err(), "{queue}: {got:?}");
    }
    let probe = shop.probe().await;
    assert_eq!(probe.waiting(&queues[1]).await, 1);

    for seen in ["queues/{vhost}", "connections", "nodes", "overview", "exchanges/{vhost}", "policies/{vhost}"] {
        let (status, answer) = shop.manage_as((VIEWER, &password), Method::GET, seen, &Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{seen}: {answer}");
    }
    let (_, listed) = shop.manage_as((VIEWER, &password), Method::GET, "queues/{vhost}", &Value::Null).await;
    assert!(listed.as_array().expect("a list").iter().any(|queue| queue["name"] == *queues[1]), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inspector_reads_dead_letters_and_unrouted_messages_and_nothing_else() {
    let (shop, [work, dead, unrouted, retry]) = with_messages_everywhere().await;
    for queue in [&dead, &unrouted] {
        let (status, messages) = get(&shop, INSPECTOR, queue, REQUEUE).await;
        assert_eq!((status, messages[0]["payload"].as_str()), (StatusCode::OK, Some("{}")), "{queue}");
    }
    for queue in [&work, &retry] {
        assert_eq!(get(&shop, INSPECTOR, queue, REQUEUE).await.0, StatusCode::UNAUTHORIZED, "{queue}");
        assert_eq!(purge(&shop, INSPECTOR, queue).await, StatusCode::UNAUTHORIZED, "{queue}");
    }
    let connection = Connection::connect(shop.broker_url(INSPECTOR).as_str(), ConnectionProperties::default())
        .await
        .expect("the user may connect");
    for exchange in [names::EVENTS, names::RETURN, names::DEAD_LETTERS, ""] {
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("the broker supports confirms");
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish(exchange.into(), work.as_str().into(), options, b"{}", Default::default()).await;
        let refused = match sent {
            Ok(confirm) => confirm.await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "it published to {exchange:?}");
    }
    let channel = connection.create_channel().await.expect("a channel");
    assert!(channel.queue_purge(work.as_str().into(), QueuePurgeOptions::default()).await.is_err());
    let probe = shop.probe().await;
    assert_eq!((probe.waiting(&work).await, probe.waiting(&dead).await, probe.waiting(&unrouted).await), (1, 1, 2));
    // The right to read includes removing. `purged` and `doctor_missing` find what is missing then, and republish it.
    let (status, taken) = get(&shop, INSPECTOR, &unrouted, REMOVE).await;
    assert_eq!((status, taken.as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{taken}");
    probe.until_waiting(&unrouted, 0).await;
}

/// In installations from before the inspector existed, the viewer could read everything.
#[tokio::test(flavor = "multi_thread")]
async fn existing_installation_is_narrowed_without_new_settings() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let as_before = json!({ "configure": "^$", "write": "^$", "read": ".*" });
    shop.manage_with(Method::PUT, "permissions/{vhost}/orderflow-viewer", &as_before).await;
    shop.manage(Method::DELETE, "permissions/{vhost}/orderflow-inspector").await;
    let found = doctor(&shop).await;
    ended(&found, 1, &["1 finding:", "The user orderflow-viewer has other rights", "`orderflow topology apply`"]);

    // Without passwords in the settings, the command updates rights and leaves users as they are.
    let applied = run("orderflow", &["topology", "apply"], &shop.operator_settings()).await;
    ended(&applied, 0, &["as they should be"]);
    let viewer = shop.manage(Method::GET, "permissions/{vhost}/orderflow-viewer").await;
    assert_eq!((&viewer["read"], &viewer["write"]), (&"^$".into(), &"^$".into()));
    ended(&doctor(&shop).await, 0, &["Nothing is wrong."]);
    // The inspector already exists on this broker, and can read here again with its own password.
    assert_eq!(get(&shop, INSPECTOR, &PAYMENT.dead_letter_queue(), REQUEUE).await.0, StatusCode::OK);
    shop.close().await;
}

/// Users belong to the whole broker. For another virtual host they exist already, and the settings need not have
/// their passwords. `topology apply` once reported success there although no program could connect.
#[tokio::test(flavor = "multi_thread")]
async fn existing_users_get_their_rights_in_a_new_virtual_host_without_passwords() {
    let mut shop = Shop::open().await;
    shop.manage(Method::DELETE, "vhosts/{vhost}").await;
    ended(&run("orderflow", &["topology", "apply"], &shop.operator_settings()).await, 0, &["as they should be"]);
    shop.manage(Method::DELETE, "permissions/{vhost}/orderflow-worker").await;
    let wider = json!({ "configure": "^$", "write": ".*", "read": ".*" });
    shop.manage_with(Method::PUT, "permissions/{vhost}/orderflow-web", &wider).await;
    let says = [
        "The user orderflow-worker has no rights in this virtual host.",
        "The user orderflow-web has other rights in this virtual host than it should have.",
    ];
    ended(&run("orderflow", &["topology", "check"], &shop.operator_settings()).await, 1, &says);
    ended(&doctor(&shop).await, 1, &says);
    let json = run("orderflow", &["topology", "check", "--json"], &shop.operator_settings()).await;
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["ok"], report["users"].as_array().map(Vec::len)), (&false.into(), Some(2)), "{report}");

    topology_apply(&shop).await;
    ended(&run("orderflow", &["topology", "check"], &shop.operator_settings()).await, 0, &["as they should be"]);
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "shipped").await;
    shop.close().await;
}

/// Runs `orderflow` as a user who administers one virtual host, as with a hosted RabbitMQ, and checks that it prints
/// no JSON.
async fn said(shop: &Shop, url: &str, arguments: &[&str]) -> Ended {
    let told = run("orderflow", arguments, &with(shop.operator_settings(), &[("AMQP_ADMIN_URL", url)])).await;
    assert!(!told.out.contains('{') && !told.err.contains('{'), "{told:?}");
    told
}

/// Trial C10: `topology check` printed raw JSON for such a user.
#[tokio::test(flavor = "multi_thread")]
async fn administrator_of_one_virtual_host_can_use_what_exists_and_learns_what_is_not_permitted() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let name = format!("only_{}", shop.name());
    let user = format!("users/{name}");
    let tagged = async |tags: &str| {
        shop.manage_with(Method::PUT, &user, &json!({ "password": "theirs", "tags": tags })).await;
    };
    tagged("management,policymaker").await;
    let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    shop.manage_with(Method::PUT, &format!("permissions/{{vhost}}/{name}"), &all).await;
    let url = shop.servers.broker(Some((&name, "theirs")), shop.name()).to_string();
    let delete = async |what: &str| drop(shop.manage(Method::DELETE, what).await);

    let seen = ["Users and their rights were not checked", "as they should be"];
    ended(&said(&shop, &url, &["topology", "check"]).await, 0, &seen);
    ended(&said(&shop, &url, &["queues"]).await, 0, &["payment.order-created"]);
    ended(&said(&shop, &url, &["dlq", "list"]).await, 0, &[]);
    let found = said(&shop, &url, &["doctor"]).await;
    let says = [
        "Nothing wrong was found, but not everything could be checked",
        "does not see RabbitMQ's nodes",
        "does not see RabbitMQ's users",
        "needs the tag administrator",
        "queues as they should be",
        "have a consumer",
    ];
    ended(&found, 3, &says);

    let unused = queues::EMAIL_ORDER_CANCELLED.dead_letter_queue();
    delete(&format!("queues/{{vhost}}/{unused}")).await;
    delete("policies/{vhost}/orderflow-retry").await;
    ended(&said(&shop, &url, &["topology", "check"]).await, 1, &[&format!("queue {unused} is missing"), "policy"]);
    let applied = said(&shop, &url, &["topology", "apply"]).await;
    ended(&applied, 0, &["Not created or updated: users and their rights", "administrator", "as they should be"]);
    ended(&said(&shop, &url, &["topology", "check"]).await, 0, &["as they should be"]);
    // The command fails, because it could not do what the settings require.
    let asked = [("AMQP_ADMIN_URL", url.as_str()), ("AMQP_WEB_PASSWORD", "new")];
    let applied = run("orderflow", &["topology", "apply"], &with(shop.operator_settings(), &asked)).await;
    ended(&applied, 1, &["Not created or updated: orderflow-web."]);

    tagged("management").await;
    delete("policies/{vhost}/orderflow-retry").await;
    let applied = said(&shop, &url, &["topology", "apply"]).await;
    ended(&applied, 1, &["Policies could not be created", "policymaker", "policy orderflow-retry is missing"]);
    topology_apply(&shop).await;
    let elsewhere = shop.servers.broker(Some((&name, "theirs")), "no_such_vhost").to_string();
    for command in ["check", "apply"] {
        let absent = said(&shop, &elsewhere, &["topology", command]).await;
        ended(&absent, 1, &["no virtual host no_such_vhost", "-> a RabbitMQ administrator must create it"]);
    }
    tagged("").await;
    let refused = said(&shop, &url, &["topology", "check"]).await;
    ended(&refused, 2, &["401", "Is AMQP_ADMIN_URL's user an administrator"]);
    shop.manage(Method::DELETE, &user).await;
    shop.close().await;
}

/// Creates a user for each service. Users belong to the whole broker, so all tests set the same passwords.
pub async fn make_users(shop: &Shop) {
    let mut settings = shop.operator_settings();
    let names = roster().names().into_iter().chain(["ops"]);
    let password = |name| shop.servers.password(&format!("orderflow-{name}"));
    settings.extend(names.map(|name| (format!("AMQP_{}_PASSWORD", name.to_uppercase()), password(name))));
    ended(&run("orderflow", &["topology", "apply"], &settings).await, 0, &["as they should be"]);
}

/// Returns the broker's URL for a service's own user.
pub fn broker_as(shop: &Shop, service: &str) -> String {
    shop.broker_url(&format!("orderflow-{service}")).to_string()
}

/// Returns whether this user may publish a message. A refusal closes the channel, so each call opens its own.
pub async fn may_publish(connection: &Connection, exchange: &str, key: &str) -> bool {
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("the broker supports confirms");
    let options = BasicPublishOptions::default();
    match channel.basic_publish(exchange.into(), key.into(), options, b"{}", Default::default()).await {
        Ok(confirm) => confirm.await.is_ok(),
        Err(_) => false,
    }
}

/// The second defence, besides the event log: a stolen password cannot even publish another service's event types.
#[tokio::test(flavor = "multi_thread")]
async fn user_of_a_service_publishes_only_its_own_event_types_and_reads_only_its_own_queues() {
    let shop = Shop::open().await;
    make_users(&shop).await;
    for service in roster().names() {
        let url = broker_as(&shop, service);
        let connection =
            Connection::connect(&url, ConnectionProperties::default()).await.expect("the user may connect");
        for kind in EventKind::ALL.iter().map(|kind| kind.routing_key()) {
            let may = may_publish(&connection, names::EVENTS, kind).await;
            assert_eq!(may, roster().owner(kind) == service, "{service} publishes {kind}");
        }
        assert!(may_publish(&connection, names::EVENTS, &format!("{service}.something-new")).await, "{service}");
        for exchange in ["", "amq.topic"] {
            assert!(
                !may_publish(&connection, exchange, "payment.order-created").await,
                "{service} publishes to {exchange:?}"
            );
        }
        assert!(may_publish(&connection, names::DEAD_LETTERS, "payment.order-created").await, "{service}");
        for subscription in roster().subscriptions() {
            let channel = connection.create_channel().await.expect("a channel");
            let got = channel.basic_get(subscription.queue().as_str().into(), BasicGetOptions::default()).await;
            assert_eq!(got.is_ok(), subscription.service() == service, "{service} reads {subscription}");
        }
    }
    assert!(doctor(&shop).await.out.contains("orderflow-payment"));
    let path = "topic-permissions/{vhost}/orderflow-payment";
    shop.manage(Method::DELETE, path).await;
    let wrong = "The user orderflow-payment has other rights in this virtual host than it should have";
    let found = doctor(&shop).await;
    assert!(found.out.split_whitespace().collect::<Vec<_>>().join(" ").contains(wrong), "{found:?}");
}
