//! Addresses in settings: what is named is what is connected to, or every program says at its start what is wrong with it.

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

/// `url` by another address of this machine. Nothing else listens there, so that who connects to `localhost` instead gets nowhere.
async fn by(listening: IpAddr, named: Ipv6Addr, url: &Url) -> (Proxy, String) {
    let wire = Proxy::on(listening, url).await;
    let mut named_url = url.clone();
    named_url.set_host(Some(&Host::<String>::Ipv6(named).to_string())).expect("it has a host");
    named_url.set_port(Some(wire.address().port())).expect("it has a host");
    (wire, named_url.into())
}

/// amq-protocol-uri reads an IPv6 host as `localhost`: a program that was told of a broker elsewhere worked on the one on its own
/// machine, and said nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_is_what_is_connected_to() {
    let mut shop = Shop::open().await;
    // An IPv4 address as IPv6 has it, so that this shows something on machines without IPv6 too; and IPv6 where there is some.
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

/// PostgreSQL's socket in this directory, for a server that has none.
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

/// What the driver can do, the settings take: several servers, a socket, the list form, options of one's own. These are joined
/// with our bounds: without them one stuck statement would hold its locks for ever.
#[tokio::test(flavor = "multi_thread")]
async fn databases_are_reached_in_every_way_that_the_driver_knows() {
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

/// Settings that cannot work, each the only one that is wrong.
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
    // What the `url` crate reads as if it were right: hosts where none is, dots that it resolves.
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

/// What serve and commands, and what workers need.
const SERVE: &[(&str, &str)] = &[
    ("DATABASE_URL", "postgres://u:hush@127.0.0.1/d"),
    ("AMQP_URL", "amqp://u:hush@127.0.0.1/shop"),
    ("TOKEN_SECRET", "hush-hush-hush-hush-hush-hush-hush"),
];
const COMMANDS: &[(&str, &str)] =
    &[("DATABASE_URL", "postgres://u:hush@127.0.0.1/d"), ("AMQP_ADMIN_URL", "amqp://u:hush@127.0.0.1/shop")];

/// Each choice is right, and the setting that it needs is not there. `orderflow config` refuses what a worker refuses, but not
/// the lists of programs that share the choice and are not given the secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_choice_without_what_it_needs_is_refused_where_a_worker_would_refuse_it() {
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
        assert!(refused.out.contains("PUBLIC_URL = "), "all is shown all the same: {refused:?}");
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
    // A command does not ask for what only workers need.
    let topology = run("orderflow", &["topology", "export"], &settings(&[smtp, stripe])).await;
    assert_eq!(topology.code, Some(0), "{topology:?}");
    // A file that is named by nothing is not named.
    ended(
        &run("orderflow", &["serve"], &settings(&[("TOKEN_SECRET_FILE", "")])).await,
        2,
        &["TOKEN_SECRET is not set"],
    );
}

/// Programs are started with one list of settings, so each says what is wrong with any, before it does anything: what nobody needs
/// today is needed at night, by the worker that is started then.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_ends_every_program_and_is_named() {
    for wrong in WRONG {
        let refused = run("orderflow", &["config"], &settings(&[*wrong])).await;
        assert_eq!(refused.code, Some(2), "{wrong:?}: {refused:?}");
        let lines: Vec<_> = refused.err.lines().collect();
        assert!(
            matches!(&lines[..], [line] if line.starts_with(&format!("orderflow: {}", wrong.0))),
            "{wrong:?}: {lines:?}"
        );
        assert!(!refused.err.contains("hush") && !refused.out.contains("hush"), "{refused:?}");
        assert!(refused.out.contains("PUBLIC_URL = "), "all is shown all the same: {refused:?}");
    }
    // A name once: the last one.
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

/// Hosts that are named may be reached in clear, and doctor says which are.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_goes_in_clear_text() {
    let shop = Shop::open().await;
    let named = [("SMTP_URL", "smtp://mail.lan"), ("PLAINTEXT_HOSTS", "mail.lan,unused.lan")];
    let seen = run("orderflow", &["doctor", "--json"], &with(shop.operator_settings(), &named)).await;
    assert!(seen.out.contains("SMTP_URL to mail.lan") && !seen.out.contains("unused.lan"), "{seen:?}");
    let seen = run("orderflow", &["doctor", "--json"], &shop.operator_settings()).await;
    assert!(!seen.out.contains("plaintext"), "this machine is no network: {seen:?}");
    shop.close().await;
}
