//! Addresses in settings: programs connect to exactly the address given, or report at start why they cannot use it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl as _;
use orderflow_service::{
    config::DatabaseConfig,
    store::{Connection, Database, StoreError},
};
use orderflow_tests::{Proxy, Shop, VISA, run};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use url::{Host, Url};

use crate::commands::{ended, settings, with};

/// Returns `url` with another address of this machine. Nothing else listens there, so a program that connects to
/// `localhost` instead fails.
async fn by(listening: IpAddr, named: Ipv6Addr, url: &Url) -> (Proxy, String) {
    let wire = Proxy::on(listening, url).await;
    let mut named_url = url.clone();
    named_url.set_host(Some(&Host::<String>::Ipv6(named).to_string())).expect("it has a host");
    named_url.set_port(Some(wire.address().port())).expect("it has a host");
    (wire, named_url.into())
}

/// amq-protocol-uri reads an IPv6 host as `localhost`: a program configured for a remote broker silently used the one
/// on its own machine.
#[tokio::test(flavor = "multi_thread")]
async fn ipv6_addresses_in_settings_are_connected_to() {
    let mut shop = Shop::open().await;
    // An IPv4-mapped IPv6 address, which works on machines without IPv6 too; and real IPv6 where it is available.
    let mapped = Ipv4Addr::new(127, 0, 0, 2);
    let mut ways = vec![(IpAddr::V4(mapped), mapped.to_ipv6_mapped())];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
        ways.push((Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST));
    }
    for (listening, named) in ways {
        let (_database, database_url) = by(listening, named, &shop.database_url()).await;
        let (_web, web_url) = by(listening, named, &shop.broker_url("orderflow-web")).await;
        let (_worker, worker_url) = by(listening, named, &shop.broker_url("orderflow-worker")).await;
        let web = shop.start_web_with(&[("DATABASE_URL", &database_url), ("AMQP_URL", &web_url)]).await;
        shop.start_worker_with(&[], &[("DATABASE_URL", &database_url), ("AMQP_URL", &worker_url)]).await;
        web.order("MUG-BLUE", 1, VISA).await;
        shop.until_settled().await;

        let operator = shop.operator_settings();
        let given =
            |name: &str| operator.iter().find(|(one, _)| one == name).expect("set").1.parse::<Url>().expect("a URL");
        let (_admin, admin_url) = by(listening, named, &given("AMQP_ADMIN_URL")).await;
        let (_management, management_url) = by(listening, named, &given("RABBITMQ_MANAGEMENT_URL")).await;
        let elsewhere = [
            ("DATABASE_URL", database_url.as_str()),
            ("AMQP_ADMIN_URL", &admin_url),
            ("RABBITMQ_MANAGEMENT_URL", &management_url),
        ];
        for command in [&["topology", "check"][..], &["dlq", "list"], &["stock", "list"]] {
            ended(&run("orderflow", command, &with(operator.clone(), &elsewhere)).await, 0, &[]);
        }
        shop.until_quiet().await;
        shop.workers().remove(0).stop().await;
        shop.webs().remove(0).stop().await;
    }
    shop.close().await;
}

/// Offers a PostgreSQL socket in this directory, for a server that does not have one.
fn socket(directory: &Path, url: &Url) {
    let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).expect("a socket");
    let target = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

/// The settings accept every form that the driver supports: several servers, a socket, the keyword form, custom
/// options. Our time-outs are added to those options: without them one stuck statement would hold its locks for ever.
#[tokio::test(flavor = "multi_thread")]
async fn databases_are_reached_by_every_form_of_url_that_the_driver_knows() {
    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        setting: String,
    }
    let shop = Shop::open().await;
    let url = shop.database_url();
    let directory = tempfile::tempdir().expect("a directory");
    socket(directory.path(), &url);
    let (user, password) = (url.username(), url.password().expect("a password"));
    let (host, port, name) = (url.host_str().expect("a host"), url.port().expect("a port"), shop.name());
    let directory = directory.path().display();
    for given in [
        format!("postgres://{user}:{password}@127.0.0.1:1,{host}:{port}/{name}?target_session_attrs=read-write"),
        format!("postgres://{user}:{password}@{}/{name}", directory.to_string().replace('/', "%2F")),
        format!("postgres:///{name}?host={directory}&user={user}&password={password}"),
        format!("host=127.0.0.1,{host} port=1,{port} user={user} password={password} dbname={name}"),
        url.to_string(),
    ] {
        let joined = if given.contains("://") {
            format!(
                "{given}{}options=-c%20work_mem%3D7MB%20-c%20lock_timeout%3D1s",
                if given.contains('?') { "&" } else { "?" }
            )
        } else {
            format!("{given} options='-c work_mem=7MB -c lock_timeout=1s'")
        };
        ended(&run("orderflow", &["stock", "list"], &settings(&[("DATABASE_URL", &joined)])).await, 0, &["MUG-BLUE"]);
        let database = Database::new(&DatabaseConfig::at(joined), "test", 1).expect("a usable URL");
        let mut shown = Vec::new();
        for name in ["work_mem", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"] {
            let asking = async |connection: &mut Connection| {
                let query = format!("SELECT current_setting('{name}') AS setting");
                Ok::<_, StoreError>(diesel::sql_query(query).get_result::<Setting>(connection).await?)
            };
            shown.push(database.run(std::time::Duration::from_secs(20), asking).await.expect("it answers").setting);
        }
        assert_eq!(shown, ["7MB", "1s", "30s", "30s"]);
    }
    shop.close().await;
}

/// Unusable settings; each is tried as the only invalid one.
const WRONG: &[(&str, &str)] = &[
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d?conect_timeout=3"),
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d?sslrootcert=/ca.pem"),
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d?pgbouncer=true"),
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d?sslmode=allow"),
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d?sslmode=verify-full&sslrootcert=/no/such/ca.pem"),
    ("DATABASE_URL", "postgres://u:hush@db.example/d"),
    ("SIMULATOR_DATABASE_URL", "postgres://u:hush@127.0.0.1/d?options=x"),
    ("AMQP_URL", "amqp://u:hush@127.0.0.1/"),
    ("AMQP_URL", "amqp://u:hush@127.0.0.1//shop"),
    ("AMQP_URL", "amqp://u:hush@rabbit.example/shop"),
    ("AMQP_URL", "amqp://u:hush@[2001:db8::1]/shop"),
    ("AMQP_ADMIN_URL", "amqp://u:hush@127.0.0.1/shop?verify=verify_none"),
    ("AMQP_ADMIN_URL", "amqp://u:hush@rabbit.example/shop"),
    ("RABBITMQ_MANAGEMENT_URL", "http://rabbit.example:15672"),
    ("PLAINTEXT_HOSTS", "rabbit.example:5672"),
    ("PUBLIC_URL", "http://shop.lan:8080"),
    ("PUBLIC_URL", "https://example.org/shop"),
    ("PUBLIC_URL", "https://example.org?a=b"),
    ("PUBLIC_URL", "https://ada:hush@example.org"),
    ("LISTEN", "localhost:8080"),
    ("OPS_LISTEN", "8082"),
    ("WORKER_LISTEN", "[::1]"),
    ("SMTP_URL", "smtp://u:hush@mail.example?tls=maybe"),
    ("STRIPE_API_BASE", "http://stripe.example"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318"),
    ("RABBITMQ_UI_URL", "http://u:hush@rabbit.example"),
    // Values that the `url` crate accepts silently: missing hosts, which it takes from the path, and dots, which it
    // resolves.
    ("PUBLIC_URL", "https:///x"),
    ("PUBLIC_URL", "https:example.org"),
    ("PUBLIC_URL", "https://example.org/."),
    ("PUBLIC_URL", "https://exam\tple.org"),
    ("AMQP_URL", "amqp:///shop"),
    ("AMQP_URL", "amqp://u:hush@127.0.0.1/a/../shop"),
    ("AMQP_ADMIN_URL", "amqp://u:hush@127.0.0.1/sh\nop"),
    ("RABBITMQ_MANAGEMENT_URL", "https:////rabbit.example"),
    ("RABBITMQ_UI_URL", "https:/rabbit.example"),
    ("TRACE_VIEWER_URL", "https:///traces.example/{trace_id}"),
    ("SMTP_URL", "smtps:///mail.example"),
    ("SMTP_URL", "smtps://u:hush@mail\\example"),
    ("STRIPE_API_BASE", "https:///api.stripe.com"),
    ("STRIPE_API_BASE", "https://api..stripe.com"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https:///collector.example"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example/v1/../x"),
    ("DATABASE_URL", "postgres:////d"),
    ("DATABASE_URL", "postgres://u:hush@d\tb/d"),
    ("MAIL_FROM", "x"),
];

/// The settings that `serve` needs, and those that commands need.
const SERVE: &[(&str, &str)] = &[
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d"),
    ("AMQP_URL", "amqp://u:hush@127.0.0.1/shop"),
    ("TOKEN_SECRET", "hush-hush-hush-hush-hush-hush-hush"),
];
const COMMANDS: &[(&str, &str)] =
    &[("DATABASE_URL", "postgres://u:hush@127.0.0.1/d"), ("AMQP_ADMIN_URL", "amqp://u:hush@127.0.0.1/shop")];

/// Each choice is valid, but the setting that it needs is missing. `orderflow config` refuses what a worker refuses. It
/// accepts the settings of programs that share the choice but do not get the secret.
#[tokio::test(flavor = "multi_thread")]
async fn choice_without_its_setting_is_refused_wherever_a_worker_refuses_it() {
    let (smtp, stripe) = (("MAIL", "smtp"), ("PAYMENT_PROVIDER", "stripe"));
    let files = ("MAIL", "file:/tmp");
    for (given, choices, missing) in [
        (&[][..], &[smtp][..], "SMTP_URL"),
        (SERVE, &[smtp], "SMTP_URL"),
        (COMMANDS, &[smtp], "SMTP_URL"),
        (&[], &[stripe], "STRIPE_SECRET_KEY"),
        (SERVE, &[files, stripe], "STRIPE_SECRET_KEY"),
    ] {
        let list = with(settings(given), choices);
        let (name, value) = choices.last().expect("there is one");
        let line = format!("orderflow: {name} is {value:?}; with it {missing} has to be set");
        let refused = run("orderflow", &["config"], &list).await;
        assert_eq!((refused.code, refused.err.trim()), (Some(2), line.as_str()), "{list:?}");
        assert!(refused.out.contains("PUBLIC_URL = "), "the settings are still listed: {refused:?}");
        let worker = run("orderflow-worker", &[], &list).await;
        ended(&worker, 2, &[line.trim_start_matches("orderflow: ")]);
    }
    let none: &[(&str, &str)] = &[];
    for (given, choices) in
        [(none, none), (SERVE, none), (SERVE, &[stripe]), (COMMANDS, &[stripe]), (COMMANDS, &[files])]
    {
        let shown = run("orderflow", &["config"], &with(settings(given), choices)).await;
        assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{given:?} {choices:?}");
    }
    // A command does not require settings that only workers need.
    let topology = run("orderflow", &["topology", "export"], &settings(&[smtp, stripe])).await;
    assert_eq!(topology.code, Some(0), "{topology:?}");
    // An empty file name counts as not set.
    ended(
        &run("orderflow", &["serve"], &settings(&[("TOKEN_SECRET_FILE", "")])).await,
        2,
        &["TOKEN_SECRET is not set"],
    );
}

/// All programs share one list of settings, so each reports every invalid one before it does anything. Otherwise the
/// first program that needs the setting would fail later, for example a worker started at night.
#[tokio::test(flavor = "multi_thread")]
async fn unusable_setting_ends_every_program_and_is_named() {
    for wrong in WRONG {
        let refused = run("orderflow", &["config"], &settings(&[*wrong])).await;
        assert_eq!(refused.code, Some(2), "{wrong:?}: {refused:?}");
        let lines: Vec<_> = refused.err.lines().collect();
        assert!(
            matches!(&lines[..], [line] if line.starts_with(&format!("orderflow: {}", wrong.0))),
            "{wrong:?}: {lines:?}"
        );
        assert!(!refused.err.contains("hush") && !refused.out.contains("hush"), "{refused:?}");
        assert!(refused.out.contains("PUBLIC_URL = "), "the settings are still listed: {refused:?}");
    }
    // Of several values for one name, the last counts.
    let all = settings(WRONG);
    let programs: [(&str, &[&str]); 14] = [
        ("orderflow-worker", &[]),
        ("orderflow", &["serve"]),
        ("orderflow", &["migrate"]),
        ("orderflow", &["config"]),
        ("orderflow", &["topology", "apply"]),
        ("orderflow", &["topology", "check"]),
        ("orderflow", &["topology", "export"]),
        ("orderflow", &["doctor"]),
        ("orderflow", &["stock", "list"]),
        ("orderflow", &["why", "4Z8K2M9Q10"]),
        ("orderflow", &["dlq", "list"]),
        ("orderflow", &["audit"]),
        ("orderflow", &["queues"]),
        ("orderflow", &["republish", "--missing"]),
    ];
    for (program, arguments) in programs {
        let refused = run(program, arguments, &all).await;
        assert_eq!(refused.code, Some(2), "{program} {arguments:?}: {refused:?}");
        let said = format!("{}{}", refused.out, refused.err);
        for (name, _) in WRONG {
            assert!(said.contains(name), "{program} {arguments:?} does not name {name}: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
    }
}

/// Hosts in `PLAINTEXT_HOSTS` may be reached in plaintext, and doctor lists those that are.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_lists_plaintext_connections() {
    let shop = Shop::open().await;
    let named = [("SMTP_URL", "smtp://mail.lan"), ("PLAINTEXT_HOSTS", "mail.lan,unused.lan")];
    let seen = run("orderflow", &["doctor", "--json"], &with(shop.operator_settings(), &named)).await;
    assert!(seen.out.contains("SMTP_URL to mail.lan") && !seen.out.contains("unused.lan"), "{seen:?}");
    let seen = run("orderflow", &["doctor", "--json"], &shop.operator_settings()).await;
    assert!(!seen.out.contains("plaintext"), "loopback does not count as a network: {seen:?}");
    shop.close().await;
}
