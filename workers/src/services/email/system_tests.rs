//! Connections to the mail server: the password and customers' mails are encrypted where the server supports it, and
//! never sent in plaintext where encryption is required.

use orderflow_tests::{Authority, Shop, SmtpSink, VISA};

/// Returns the server's URL with a host name that its certificate has, and with a password.
fn url(sink: &SmtpSink, parameters: &str) -> String {
    let port = sink.url.rsplit_once(':').expect("a port").1;
    format!("smtp://shop:hush@localhost:{port}{parameters}")
}

/// Checks that the client sent nothing useful to an eavesdropper before encryption (RFC 3207).
#[track_caller]
fn nothing_came_in_clear(sink: &SmtpSink) {
    let in_clear: Vec<_> = sink.heard().into_iter().filter(|(_, encrypted)| !encrypted).map(|(line, _)| line).collect();
    let is_harmless = |line: &String| ["EHLO ", "STARTTLS", "QUIT"].iter().any(|one| line.starts_with(one));
    assert!(in_clear.iter().all(is_harmless), "{in_clear:?}");
}

/// Mail providers document `SMTP_URL=smtp://USER:PASSWORD@HOST:587`, by which every mail program means STARTTLS. With
/// `tls=required` the certificate is verified too.
#[tokio::test(flavor = "multi_thread")]
async fn starttls_comes_before_the_password() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let trusted = shop.mail_directory().with_extension("pem");
    for parameters in ["", "?tls=required"] {
        let sink = SmtpSink::start(0).await;
        std::fs::write(&trusted, sink.offer_starttls()).expect("the certificate is written");
        let (url, trusted) = (url(&sink, parameters), trusted.to_str().expect("text"));
        shop.start_worker_with(&[], &[("MAIL", "smtp"), ("SMTP_URL", &url), ("SSL_CERT_FILE", trusted)]).await;
        web.order("MUG-BLUE", 1, VISA).await;
        shop.until_settled().await;
        shop.until_quiet().await;
        assert_eq!(sink.mails().len(), 2, "{parameters:?}: received and shipped");
        assert!(sink.heard().iter().any(|(line, encrypted)| *encrypted && line.starts_with("AUTH PLAIN ")));
        nothing_came_in_clear(&sink);
        shop.workers().remove(0).stop().await;
    }
    shop.close().await;
}

/// A man in the middle can remove the offer of STARTTLS or present its own certificate. Neither yields a
/// password or a mail, and no mail is given up: mails wait as for an unavailable server.
#[tokio::test(flavor = "multi_thread")]
async fn mails_wait_without_trusted_encryption() {
    let mut shop = Shop::open_with_many_retries().await;
    let web = shop.start_web().await;
    let sink = SmtpSink::start(0).await;
    let trusted = shop.mail_directory().with_extension("pem");
    let url = url(&sink, "?tls=required");
    let settings = [("MAIL", "smtp"), ("SMTP_URL", url.as_str()), ("SSL_CERT_FILE", trusted.to_str().expect("text"))];
    // Trust another certificate first, so that the server's own is not trusted.
    let stranger = SmtpSink::start(0).await.offer_starttls();
    std::fs::write(&trusted, stranger).expect("a certificate is written");
    shop.start_worker_with(&[], &settings).await;
    web.order("MUG-BLUE", 1, VISA).await;
    shop.workers()[0].until_logged("it does not offer STARTTLS").await;
    let good = sink.offer_starttls();
    shop.workers()[0].until_logged("the TLS handshake failed").await;
    shop.workers().remove(0).stop().await;
    assert!(sink.mails().is_empty());
    nothing_came_in_clear(&sink);

    std::fs::write(&trusted, good).expect("the certificate is written");
    shop.start_worker_with(&[], &settings).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    assert_eq!(sink.mails().len(), 2, "received and shipped");
    nothing_came_in_clear(&sink);
    // Closing also checks that there is no dead letter.
    shop.close().await;
}

/// A private mail server has a certificate of the shop's own CA, which `TLS_CA` names. Mails wait while it presents
/// an invalid one.
#[tokio::test(flavor = "multi_thread")]
async fn mail_server_is_verified_by_a_private_ca() {
    let mut shop = Shop::open_with_many_retries().await;
    let web = shop.start_web().await;
    let (sink, ours) = (SmtpSink::start(0).await, Authority::new("Ours"));
    let trusted = shop.mail_directory().with_extension("pem");
    std::fs::write(&trusted, ours.certificate()).expect("a certificate is written");
    let url = url(&sink, "?tls=required");
    let settings = [("MAIL", "smtp"), ("SMTP_URL", url.as_str()), ("TLS_CA", trusted.to_str().expect("text"))];
    web.order("MUG-BLUE", 1, VISA).await;
    let renewed = Authority::new("Ours");
    for (wrong, why) in [
        (ours.server(&["other.example"]), "is for another host: it names"),
        (ours.expired(&["localhost"]), "has expired"),
        (renewed.server(&["localhost"]), "not issued by a CA that is trusted here"),
    ] {
        for worker in shop.workers().drain(..) {
            worker.stop().await;
        }
        sink.offer_starttls_with(&wrong);
        shop.start_worker_with(&[], &settings).await;
        shop.workers()[0].until_logged(why).await;
        assert!(sink.mails().is_empty(), "{why}");
        nothing_came_in_clear(&sink);
    }
    // The running worker trusts the renewed CA once the file contains it.
    std::fs::write(&trusted, renewed.certificate()).expect("the certificate is written");
    shop.until_settled().await;
    shop.until_quiet().await;
    assert_eq!(sink.mails().len(), 2, "received and shipped");
    nothing_came_in_clear(&sink);
    shop.close().await;
}
