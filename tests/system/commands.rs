//! The programs as operators use them: arguments, settings, exit codes and error messages.

use std::{fs, net::TcpListener};

use orderflow_service::version::DESCRIPTION;
use orderflow_tests::{Child, Ended, run};
use serde_json::Value;

/// Nothing listens on port 1 (tcpmux), and no unprivileged process can.
pub const NOWHERE: &str = "127.0.0.1:1";

pub fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn with(mut all: Vec<(String, String)>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    all.extend(settings(more));
    all
}

#[track_caller]
pub fn ended(ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let said = format!("{}{}", ended.out, ended.err);
    // Line breaks depend on the width of the content.
    let in_one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in says {
        assert!(said.contains(text) || in_one_line.contains(text), "{text:?} is not in the output: {ended:?}");
    }
    assert!(!said.contains("panicked"), "{ended:?}");
}

/// Returns the help and the version of a program and all its commands.
async fn manual(program: &str, commands: &[&str]) -> String {
    let mut manual = String::new();
    for command in commands {
        for flag in ["--help", "--version"] {
            let arguments: Vec<&str> = command.split_whitespace().chain([flag]).collect();
            let shown = run(program, &arguments, &[]).await;
            assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{arguments:?}");
            let text = shown.out.replace(DESCRIPTION, "VERSION");
            manual.push_str(&format!("$ {program} {}\n{text}\n", arguments.join(" ")));
        }
    }
    manual
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_explains_itself() {
    let commands = [
        "",
        "serve",
        "migrate",
        "topology",
        "topology apply",
        "topology check",
        "topology export",
        "rights",
        "rights apply",
        "rights narrow",
        "rights print",
        "service",
        "service register",
        "service list",
        "service remove",
        "config",
        "stock",
        "stock list",
        "stock set",
        "dlq",
        "dlq list",
        "dlq show",
        "dlq replay",
        "dlq discard",
        "audit",
        "republish",
        "retention",
        "why",
        "doctor",
        "queues",
        "top",
    ];
    insta::assert_snapshot!("orderflow", manual("orderflow", &commands).await);
    insta::assert_snapshot!("orderflow-worker", manual("orderflow-worker", &[""]).await);
    for wrong in [&[][..], &["teleport"], &["serve", "--fast"], &["stock", "set", "MUG-BLUE"], &["why"]] {
        let refused = run("orderflow", wrong, &[]).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(refused.err.contains("--help") || refused.err.contains("Usage"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_shows_every_setting_and_no_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    fs::write(&file, "hush-in-a-file-hush-in-a-file-hush\n").expect("it can be written");
    let given = settings(&[
        ("DATABASE_URL", "postgres://orderflow:hush@db/orderflow"),
        ("AMQP_URL", "amqp://orderflow-web:hush@rabbit/orderflow"),
        ("AMQP_ADMIN_URL", "amqp://orderflow-admin:hush@rabbit/orderflow"),
        ("AMQP_WEB_PASSWORD", "hush"),
        ("AMQP_WORKER_PASSWORD", "hush"),
        ("AMQP_VIEWER_PASSWORD", "hush"),
        ("AMQP_INSPECTOR_PASSWORD", "hush"),
        ("TOKEN_SECRET_FILE", file.to_str().expect("text")),
        ("SMTP_URL", "smtp://shop:hush@mail"),
        ("STRIPE_SECRET_KEY", "sk_test_hush"),
        ("SIMULATOR_DATABASE_URL", "postgres://simulator:hush@elsewhere/simulator"),
        ("LISTEN", "0.0.0.0:80"),
        ("PLAINTEXT_HOSTS", "db,rabbit,mail,elsewhere"),
    ]);
    let text = run("orderflow", &["config"], &given).await;
    let json = run("orderflow", &["config", "--json"], &given).await;
    let rows: Vec<Value> = serde_json::from_str(&json.out).expect("JSON");
    for shown in [&text, &json] {
        assert_eq!(shown.code, Some(0));
        assert!(!shown.out.contains("hush") && !shown.err.contains("hush"), "{shown:?}");
    }
    // Settings from the contract's list.
    for name in [
        "DATABASE_URL AMQP_URL AMQP_ADMIN_URL AMQP_WEB_PASSWORD AMQP_WORKER_PASSWORD AMQP_VIEWER_PASSWORD LISTEN",
        "AMQP_INSPECTOR_PASSWORD",
        "WORKER_LISTEN PUBLIC_URL TRUSTED_PROXIES TOKEN_SECRET RUST_LOG LOG_FORMAT PAYMENT_PROVIDER CARRIER MAIL SMTP_URL",
        "MAIL_FROM BATCH_SIZE PREFETCH RECONCILE_AFTER RETRY_DELAYS RATE_LIMIT ADMISSION_MAX_OUTBOX_AGE ADMISSION_MAX_OUTBOX_ROWS",
        "PAYMENT_TIMEOUT PAYMENT_CONCURRENCY CARRIER_TIMEOUT CARRIER_CONCURRENCY MAIL_TIMEOUT MAIL_CONCURRENCY MAIL_LIMIT SIMULATOR_DATABASE_URL",
        "STRIPE_SECRET_KEY STRIPE_API_BASE LIVE_WATCHERS",
    ]
    .iter()
    .flat_map(|names| names.split_whitespace())
    {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(row["meaning"].as_str().is_some_and(|meaning| meaning.len() > 10), "{row}");
        assert!(text.out.contains(&format!("{name} = ")), "{name}");
        let (secret, value) = (row["secret"] == true, row["value"].as_str());
        assert_eq!(secret, name.ends_with("_URL") && name != "PUBLIC_URL" || name.ends_with("PASSWORD") || name == "TOKEN_SECRET" || name == "STRIPE_SECRET_KEY");
        if secret {
            assert_eq!(value, Some("********"), "{name}");
        }
    }
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).expect("listed");
    assert_eq!((&row("LISTEN")["value"], &row("LISTEN")["default"]), (&"0.0.0.0:80".into(), &"127.0.0.1:8080".into()));
    assert_eq!(row("RETRY_DELAYS")["value"], "1s,10s,1m,10m,1h,6h");
    assert_eq!((&row("MAIL")["value"], &row("MAIL")["default"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_and_missing_settings_are_all_named_before_anything_starts() {
    let of_all = ["DATABASE_URL", "AMQP_URL", "TOKEN_SECRET"];
    let programs = [("orderflow", &["serve"][..], &[][..]), ("orderflow-worker", &[], &["MAIL"])];
    let wrong = settings(&[
        ("DATABASE_URL", "mysql://orderflow:hush@db/orderflow"),
        ("AMQP_URL", "http://orderflow:hush@rabbit"),
        ("TOKEN_SECRET", "hush"),
        ("PUBLIC_URL", "ftp://shop"),
        ("LISTEN", "everywhere"),
        ("RATE_LIMIT", "-1"),
        ("OPERATOR_TOKENS", "ada:operate:hush"),
        ("RABBITMQ_UI_URL", "http://orderflow:hush@rabbit:15672"),
        ("LIVE_WATCHERS", "0"),
        ("TRUSTED_PROXIES", "127.0.0.1,proxy"),
        ("ADMISSION_MAX_OUTBOX_AGE", "0s"),
        ("ADMISSION_MAX_OUTBOX_ROWS", "0"),
        ("WORKER_LISTEN", "8081"),
        ("BATCH_SIZE", "0"),
        ("PREFETCH", "many"),
        ("RECONCILE_AFTER", "2days"),
        ("RETRY_DELAYS", "10s,1s"),
        ("PAYMENT_PROVIDER", "cash"),
        ("PAYMENT_TIMEOUT", "6m"),
        ("PAYMENT_CONCURRENCY", "0"),
        ("STRIPE_SECRET_KEY", "pk_live_hush"),
        ("STRIPE_API_BASE", "http://api.stripe.com"),
        ("SIMULATOR_DATABASE_URL", "mysql://simulator:hush@db/simulator"),
        ("CARRIER", "pigeon"),
        ("CARRIER_TIMEOUT", "10"),
        ("CARRIER_CONCURRENCY", "1001"),
        ("MAIL_TIMEOUT", "1ms"),
        ("MAIL_CONCURRENCY", "few"),
        ("MAIL_LIMIT", "few"),
        ("MAIL", "carrier pigeon"),
        ("MAIL_FROM", "x"),
        ("SMTP_URL", "http://shop:hush@mail"),
        ("RUST_LOG", "a=b=c"),
        ("LOG_FORMAT", "xml"),
    ]);
    for (program, arguments, also_needed) in programs {
        let missing = run(program, arguments, &[]).await;
        let named: Vec<_> = of_all.iter().chain(also_needed).collect();
        one_line_each(&missing, program, &named);
        let refused = run(program, arguments, &wrong).await;
        // Every invalid setting is named, even those that only another program reads.
        let named: Vec<_> = wrong.iter().map(|(name, _)| name.as_str()).collect();
        let named: Vec<_> = named.iter().collect();
        one_line_each(&refused, program, &named);
        assert!(!refused.err.contains("hush"), "{refused:?}");
        // An empty variable counts as not set; a named file must exist.
        let empty =
            with(Vec::new(), &[("DATABASE_URL", " "), ("AMQP_URL", ""), ("TOKEN_SECRET_FILE", "/nowhere/secret")]);
        let refused = run(program, arguments, &empty).await;
        ended(&refused, 2, &["DATABASE_URL is not set", "AMQP_URL is not set", "TOKEN_SECRET_FILE: /nowhere/secret"]);
    }
    for command in [&["migrate"][..], &["stock", "list"], &["why", "4Z8K2M9Q10"]] {
        one_line_each(&run("orderflow", command, &[]).await, "orderflow", &[&"DATABASE_URL"]);
    }
    one_line_each(&run("orderflow", &["topology", "apply"], &[]).await, "orderflow", &[&"AMQP_ADMIN_URL"]);
    ended(&run("orderflow-worker", &["--queue", "nonsense"], &[]).await, 2, &["nonsense", "payment.order-created"]);
    ended(&run("orderflow-worker", &["--queue", "payment.["], &[]).await, 2, &["payment.["]);
}

/// Checks for status 2, with one line for each of these variables and nothing else.
#[track_caller]
fn one_line_each(refused: &Ended, program: &str, named: &[&&str]) {
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    for name in named {
        let own = |line: &&str| {
            line.starts_with(&format!("{program}: {name} ")) || line.starts_with(&format!("{program}: {name}:"))
        };
        let lines: Vec<_> = refused.err.lines().filter(own).collect();
        assert_eq!(lines.len(), 1, "{name} in {refused:?}");
        assert!(lines[0].contains("expected") || lines[0].contains("is not set"), "{}", lines[0]);
    }
    assert_eq!(refused.err.lines().count(), named.len(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn port_in_use_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let database = format!("postgres://orderflow:hush@{NOWHERE}/orderflow");
    let broker = format!("amqp://orderflow:hush@{NOWHERE}/orderflow");
    let directory = tempfile::tempdir().expect("a directory");
    let mail = format!("file:{}", directory.path().display());
    let secret = "x".repeat(32);
    let common = settings(&[
        ("DATABASE_URL", &database),
        ("AMQP_URL", &broker),
        ("TOKEN_SECRET", &secret),
        ("MAIL", &mail),
        ("RUST_LOG", "error"),
        ("NO_COLOR", "1"),
    ]);
    for (program, arguments, name) in
        [("orderflow", &["serve"][..], "LISTEN"), ("orderflow-worker", &[], "WORKER_LISTEN")]
    {
        let refused = run(program, arguments, &with(common.clone(), &[(name, &address)])).await;
        ended(&refused, 2, &[&address, name, "in use"]);
        assert_eq!(refused.err.lines().count(), 1, "{refused:?}");
    }
    // The sender of mails is validated like any other setting.
    let nobody = with(common.clone(), &[("WORKER_LISTEN", "127.0.0.1:0"), ("MAIL_FROM", "Shop")]);
    ended(&run("orderflow-worker", &[], &nobody).await, 2, &["MAIL_FROM"]);

    // Several workers may run on one host: if no port is set, any free one is used. Port 8081 is taken here by this
    // test or by another process.
    let _usual = TcpListener::bind("127.0.0.1:8081");
    let mut worker = Child::start("orderflow-worker", &[], &with(common, &[("RUST_LOG", "info")]));
    assert_ne!(worker.address().await.port(), 8081);
    let line = worker.until_logged("DATABASE_URL").await;
    assert!(line.contains("cannot be reached"), "{line}");
    worker.stop().await;
}
