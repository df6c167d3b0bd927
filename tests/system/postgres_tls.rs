//! PostgreSQL over TLS: what each `sslmode` accepts, on a real server with certificates that the test issues.

use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt as _, sync::Arc};

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use orderflow_service::{
    store::{Connection, Protection, StoreError},
    tls::{ClientTls, Roots, Verification},
};
use orderflow_tests::{
    Authority, Issued,
    own::{Installed, Postgres},
    run, until,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::commands::{ended, settings};

/// A PostgreSQL server of the test's own, and a directory for the clients' files.
struct Server {
    postgres: Postgres,
    files: TempDir,
    // Dropped after the server.
    _directory: TempDir,
}

impl Server {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // If the test runs as root, PostgreSQL runs as another user, who must be able to enter the directory.
        let through = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(directory.path(), through).expect("our own directory");
        let mut postgres = Postgres::create(&directory.path().join("postgres"), &Installed::Here).await;
        postgres.start().await;
        postgres.make_role().await;
        Self { postgres, files: tempfile::tempdir().expect("a directory"), _directory: directory }
    }

    /// Returns the server's URL under this host name, without a DNS look-up.
    fn url(&self, host: &str, parameters: &str) -> String {
        let url = self.postgres.url();
        let (user, password) = (url.username(), url.password().expect("a password"));
        let port = self.postgres.port();
        format!("postgres://{user}:{password}@{host}:{port}/orderflow?hostaddr=127.0.0.1&{parameters}")
    }

    /// Writes a file for clients and returns its path.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).expect("a directory of our own");
        path.display().to_string()
    }

    /// Turns TLS on with this certificate and waits until the server presents it, since it reloads its files a moment
    /// later.
    async fn shows(&self, issued: &Issued, rules: &str) {
        self.postgres.encrypt(issued, Authority::new("nobody").certificate(), rules).await;
        self.until_shown(issued).await;
    }

    async fn until_shown(&self, issued: &Issued) {
        let expected = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate");
        until("the server presents its new certificate", async || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.postgres.port())).await?;
            ask_for_tls(&mut stream).await?;
            let stream = trusting_anybody().connect(name("any.example"), stream).await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
            if shown.as_ref() == Some(&expected) { Ok(()) } else { Err(std::io::Error::other("another certificate")) }
        })
        .await;
    }
}

async fn ask_for_tls(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
    match stream.read_u8().await? {
        b'S' => Ok(()),
        other => Err(std::io::Error::other(format!("it answers {other}"))),
    }
}

fn name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).expect("a name")
}

/// Returns a client that verifies no certificate, like a man in the middle.
fn trusting_anybody() -> TlsConnector {
    let anybody = ClientTls { verification: Verification::Nothing, roots: Roots::System, identity: None };
    TlsConnector::from(Arc::new(anybody.load(None).expect("no file is read")))
}

async fn connect(url: &str) -> Result<Connection, String> {
    Connection::establish(url).await.map_err(|error| error.to_string())
}

/// Fails unless the connection was refused with an error that contains `says`.
#[track_caller]
fn refused(outcome: Result<Connection, String>, says: &str, of: &str) {
    match outcome {
        Ok(connection) => panic!("{of} was accepted: {:?}", connection.protection()),
        Err(error) => assert!(error.contains(says), "{of}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_certificate_is_verified_according_to_sslmode() {
    let server = Server::start().await;
    let (ours, foreign) = (Authority::new("Ours"), Authority::new("Foreign"));
    let trusted = server.file("ca.pem", ours.certificate());
    let sslmode = |mode: &str| match mode {
        "disable" | "prefer" | "require" => format!("sslmode={mode}"),
        verifying => format!("sslmode={verifying}&sslrootcert={trusted}"),
    };
    let (expired, unknown, elsewhere) = ("certificate has expired", "not issued by a CA", "for another host");
    for (certificate, modes) in [
        // The valid certificate.
        (ours.server(&["db.example"]), [("require", None), ("verify-ca", None), ("verify-full", None)]),
        (ours.server(&["other.example"]), [("require", None), ("verify-ca", None), ("verify-full", Some(elsewhere))]),
        (
            ours.expired(&["db.example"]),
            [("require", None), ("verify-ca", Some(expired)), ("verify-full", Some(expired))],
        ),
        (
            foreign.server(&["db.example"]),
            [("require", None), ("verify-ca", Some(unknown)), ("verify-full", Some(unknown))],
        ),
        // Another CA with the same name as ours.
        (
            Authority::new("Ours").server(&["db.example"]),
            [("require", None), ("verify-ca", Some(unknown)), ("verify-full", Some(unknown))],
        ),
        (
            Issued::by_itself(&["db.example"]),
            [("require", None), ("verify-ca", Some(unknown)), ("verify-full", Some(unknown))],
        ),
    ] {
        server.shows(&certificate, "").await;
        for (mode, failure) in modes {
            let outcome = connect(&server.url("db.example", &sslmode(mode))).await;
            match failure {
                Some(says) => refused(outcome, says, mode),
                None => {
                    let connection = outcome.unwrap_or_else(|error| panic!("{mode}: {error}"));
                    let Protection::Tls { version, verification, .. } = connection.protection() else {
                        panic!("{mode} is {:?}", connection.protection());
                    };
                    let expected = match mode {
                        "require" => Verification::Nothing,
                        "verify-ca" => Verification::Issuer,
                        _ => Verification::IssuerAndHost,
                    };
                    assert_eq!((*version, *verification), ("TLS 1.3", expected), "{mode}");
                }
            }
        }
        // With a file of CAs, libpq verifies the issuer with `require` too.
        if modes[1].1.is_some() {
            let require = server.url("db.example", &format!("sslmode=require&sslrootcert={trusted}"));
            refused(connect(&require).await, modes[1].1.expect("it fails"), "require with sslrootcert");
        }
    }
    // A self-signed certificate is accepted if the client trusts it. The system's CAs have issued none of these.
    let own = Issued::by_itself(&["db.example"]);
    let named = server.file("own.pem", &own.certificate);
    server.shows(&own, "").await;
    let full = format!("sslmode=verify-full&sslrootcert={named}");
    connect(&server.url("db.example", &full)).await.expect("the client trusts it");
    refused(connect(&server.url("other.example", &full)).await, elsewhere, "another host's");
    refused(connect(&server.url("db.example", "sslmode=verify-full")).await, unknown, "the system's CAs");
    refused(connect(&server.url("db.example", "sslrootcert=system")).await, unknown, "the system's CAs");
    // A certificate may name an IP address.
    server.shows(&ours.server(&["127.0.0.1"]), "").await;
    let full = format!("sslmode=verify-full&sslrootcert={trusted}");
    connect(&server.url("127.0.0.1", &full)).await.expect("it names the address");
    refused(connect(&server.url("localhost", &full)).await, elsewhere, "a name");
}

/// The programs report the same, and name the setting.
#[tokio::test(flavor = "multi_thread")]
async fn programs_reach_an_encrypted_database_or_report_why_not() {
    let server = Server::start().await;
    let ours = Authority::new("Ours");
    let trusted = server.file("ca.pem", ours.certificate());
    server.shows(&ours.server(&["db.example"]), "hostnossl all orderflow all reject").await;
    let url = server.url("db.example", &format!("sslmode=verify-full&sslrootcert={trusted}"));
    let on = |url: &str| settings(&[("DATABASE_URL", url)]);
    ended(&run("orderflow", &["migrate"], &on(&url)).await, 0, &[]);
    ended(&run("orderflow", &["stock", "list"], &on(&url)).await, 0, &["MUG-BLUE"]);

    let wrong = server.url("other.example", &format!("sslmode=verify-full&sslrootcert={trusted}"));
    let says = ["certificate is for another host", "db.example", "sslmode=verify-full"];
    ended(&run("orderflow", &["stock", "list"], &on(&wrong)).await, 3, &says);
    let direct = format!("sslmode=verify-full&sslrootcert={trusted}&sslnegotiation=direct");
    let (outcome, version) = (connect(&server.url("db.example", &direct)).await, server.postgres.version().await);
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(0..17) => refused(outcome, "before version 17", &version),
        _ => drop(outcome.expect("since version 17 PostgreSQL accepts it")),
    }
    // The server refuses connections in plaintext, so none of the above fell back to one.
    let clear = server.url("127.0.0.1", "sslmode=disable");
    let none = connect(&clear).await;
    refused(none, "pg_hba.conf", "a connection in clear");
    // Our own rule, not libpq's default, decides which hosts may be reached in plaintext.
    for parameters in ["", "sslmode=prefer", "sslmode=disable"] {
        let url = format!("postgres://u:hush@db.example/d?{parameters}");
        let says = ["DATABASE_URL", "expected sslmode=verify-full", "db.example to PLAINTEXT_HOSTS"];
        let ended_so = run("orderflow", &["stock", "list"], &on(&url)).await;
        ended(&ended_so, 2, &says);
        assert!(!format!("{ended_so:?}").contains("hush"), "{ended_so:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_tls_is_refused_unless_sslmode_permits_it() {
    let server = Server::start().await;
    for mode in ["require", "verify-full"] {
        let outcome = connect(&server.url("db.example", &format!("sslmode={mode}"))).await;
        refused(outcome, &format!("does not offer TLS, which sslmode={mode}"), mode);
    }
    for mode in ["disable", "prefer"] {
        let connection = connect(&server.url("127.0.0.1", &format!("sslmode={mode}"))).await.expect(mode);
        assert_eq!(connection.protection(), &Protection::Clear, "{mode}");
    }
    // Where the server offers TLS, `prefer` uses it, whatever the certificate.
    server.shows(&Authority::new("Foreign").server(&["other.example"]), "").await;
    let connection = connect(&server.url("127.0.0.1", "sslmode=prefer")).await.expect("the server accepts it");
    assert!(matches!(connection.protection(), Protection::Tls { verification: Verification::Nothing, .. }));
    let connection = connect(&server.url("127.0.0.1", "sslmode=disable")).await.expect("the server accepts it");
    assert_eq!(connection.protection(), &Protection::Clear);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificate_authenticates_its_role() {
    let server = Server::start().await;
    let (ours, clients, foreign) = (Authority::new("Ours"), Authority::new("Clients"), Authority::new("Foreign"));
    let trusted = server.file("ca.pem", ours.certificate());
    let shown = ours.server(&["db.example"]);
    // The URL has no password: the certificate alone identifies the client.
    server.postgres.encrypt(&shown, clients.certificate(), "hostssl all orderflow all cert").await;
    server.until_shown(&shown).await;
    let url = |parameters: &str| {
        let port = server.postgres.port();
        format!(
            "postgres://orderflow@db.example:{port}/orderflow?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={trusted}{parameters}"
        )
    };
    let with = |issued: &Issued, name: &str| {
        let [certificate, key] = issued.write(server.files.path(), name).map(|path| path.display().to_string());
        url(&format!("&sslcert={certificate}&sslkey={key}"))
    };
    let right = with(&clients.client("orderflow"), "right");
    let connection = connect(&right).await.expect("it is ours");
    assert!(matches!(connection.protection(), Protection::Tls { has_identity: true, .. }));
    refused(connect(&url("")).await, "client certificate", "none");
    refused(connect(&with(&clients.client("another"), "another")).await, "orderflow", "another user's");
    refused(connect(&with(&foreign.client("orderflow"), "foreign")).await, "client certificate", "a foreign CA's");
    // A renewed certificate takes effect with the next connection, without a restart.
    foreign.client("orderflow").write(server.files.path(), "right");
    refused(connect(&right).await, "client certificate", "an invalid renewed one");
    clients.client("orderflow").write(server.files.path(), "right");
    connect(&right).await.expect("it is ours again");
}

/// Our wire reader sees the server's messages inside the encryption, so errors and refused connections keep their
/// SQLSTATE.
#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_sqlstate_over_tls() {
    let server = Server::start().await;
    let ours = Authority::new("Ours");
    server.shows(&ours.server(&["db.example"]), "").await;
    let url = server.url("db.example", "sslmode=require");
    let mut connection = connect(&url).await.expect("the server accepts it");
    let error = StoreError::from(connection.batch_execute("SELECT 1 / 0").await.expect_err("it divides by zero"));
    assert_eq!(error.state().map(|state| state.code()), Some("22012"), "{error}");
    let stranger = url.replace("orderflow:", "nobody:");
    let error = connect(&stranger).await.err().expect("the server has no such role");
    assert!(error.contains("SQLSTATE 28P01"), "{error}");
}

/// Starts a man in the middle, which ends the encryption with its own certificate and forwards to the server. Returns
/// its port.
async fn man_in_between(server: &Server) -> u16 {
    let theirs = Authority::new("Theirs").server(&["db.example"]);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("some versions of TLS")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(theirs.certificate.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(theirs.key.as_bytes()).expect("a key"),
        )
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (own, target) = (listener.local_addr().expect("an address").port(), server.postgres.port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut request = [0; 8];
                client.read_exact(&mut request).await?;
                client.write_all(b"S").await?;
                let mut client = acceptor.accept(client).await?;
                let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
                ask_for_tls(&mut upstream).await?;
                let mut upstream = trusting_anybody().connect(name("db.example"), upstream).await?;
                copy_bidirectional(&mut client, &mut upstream).await
            });
        }
    });
    own
}

/// `require` alone verifies no certificate. Channel binding, which hosted databases require, ties the password's
/// proof to the server's certificate, so a man in the middle cannot use it.
#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_stops_a_man_in_the_middle() {
    let server = Server::start().await;
    let ours = Authority::new("Ours");
    server.shows(&ours.server(&["db.example"]), "").await;
    let bound = "sslmode=require&channel_binding=require";
    connect(&server.url("db.example", bound)).await.expect("this is the server itself");
    let between = man_in_between(&server).await;
    let through = |parameters: &str| {
        let (own, theirs) = (format!(":{}/", server.postgres.port()), format!(":{between}/"));
        server.url("db.example", parameters).replace(&own, &theirs)
    };
    connect(&through("sslmode=require&channel_binding=disable")).await.expect("no certificate is verified");
    refused(connect(&through(bound)).await, "channel binding", "a man in the middle");
    let trusted = server.file("ca.pem", ours.certificate());
    let verified = format!("sslmode=verify-full&sslrootcert={trusted}");
    refused(connect(&through(&verified)).await, "not issued by a CA", "a man in the middle");
}
