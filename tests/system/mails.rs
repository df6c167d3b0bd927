//! The mails as a mail program reads them, from files and over SMTP: each arrives once, whatever fails on the way.

use std::{collections::BTreeMap, fs, path::Path};

use mailparse::{MailHeaderMap as _, ParsedMail};
use orderflow_tests::{Answer, Child, DECLINED, Order, Shop, SmtpSink, VISA, Web, body, key, until};
use reqwest::StatusCode;
use serde_json::Value;

const PUBLIC_URL: (&str, &str) = ("PUBLIC_URL", "https://shop.example");
const NAME: &str = "Bob & Eve O'Hara";

/// A parsed mail.
#[derive(Debug)]
struct Mail {
    id: String,
    subject: String,
    text: String,
    html: String,
}

/// Parses a mail and checks what all mails have in common.
fn read(content: &[u8]) -> Mail {
    let mail = mailparse::parse_mail(content).expect("it is a mail");
    let header = |name: &str| {
        let all = mail.headers.get_all_values(name);
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all.into_iter().next().expect("one")
    };
    let mailbox = |name: &str| {
        let header = mail.headers.get_first_header(name).expect("it is there");
        let one = mailparse::addrparse_header(header).expect("addresses").extract_single_info().expect("one");
        (one.display_name.unwrap_or_default(), one.addr)
    };
    assert_eq!(mailbox("To"), (NAME.to_owned(), "bob@example.org".to_owned()));
    assert_eq!(mailbox("From"), ("Test shop".to_owned(), "shop@example.org".to_owned()));
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert!(mailparse::dateparse(&header("Date")).is_ok());
    assert_eq!(mail.ctype.mimetype, "multipart/alternative");
    let part = |part: &ParsedMail<'_>, kind: &str| {
        assert_eq!((part.ctype.mimetype.as_str(), part.ctype.charset.as_str()), (kind, "utf-8"));
        part.get_body().expect("it can be decoded")
    };
    assert_eq!(mail.subparts.len(), 2, "text first, HTML last: a mail program shows the last part that it supports");
    let (text, html) = (part(&mail.subparts[0], "text/plain"), part(&mail.subparts[1], "text/html"));
    Mail { id: header("Message-ID"), subject: header("Subject"), text, html }
}

/// Returns all mails of a directory by file name.
fn in_directory(directory: &Path) -> BTreeMap<String, Mail> {
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| (name(&path), read(&fs::read(&path).expect("it can be read"))))
        .collect()
}

async fn place(web: &Web, method: &str) -> (Order, Answer) {
    let mut order = body("MUG-BLUE", 2, method);
    order["customer"] = serde_json::json!({ "name": NAME, "email": "bob@example.org" });
    let answer = web.place(&key(), &order).await;
    (answer.accepted(), answer)
}

/// Checks the content that every mail about an order has, and that its link opens the order.
async fn is_about(mail: &Mail, kind: &str, order: &Order, placed: &Answer, web: &Web) {
    assert_eq!(
        mail.id,
        format!("<{}.{kind}@example.org>", order.id),
        "the Message-ID is derived from the order and the kind of mail"
    );
    let number = placed.body["number"].as_str().expect("a number");
    assert!(mail.subject.contains(number), "{mail:?}");
    for form in [&mail.text, &mail.html] {
        for part in [number, "Blue stoneware mug", "29.98 EUR"] {
            assert!(form.contains(part), "{part} in {mail:?}");
        }
    }
    assert!(mail.text.contains(NAME), "{mail:?}");
    let html = mail.html.replace("&#38;", "&amp;");
    assert!(html.contains("Hello Bob &amp; Eve O&#39;Hara,"), "{mail:?}");
    assert!(mail.html.contains("</html>") && !mail.text.contains("</p>"), "{mail:?}");
    let page = placed.body["links"]["page"].as_str().expect("a link");
    assert!(page.starts_with(&format!("https://shop.example/track/{}?t=v1.", order.id)));
    let in_text = mail.text.split_whitespace().find(|word| word.starts_with("https://")).expect("a link");
    let in_html = mail.html.split('"').find(|part| part.starts_with("https://")).expect("a link");
    assert_eq!((in_text, in_html), (page, page));
    let token = in_text.split_once("?t=").expect("a token").1.to_owned();
    let seen = web.get_of(&Order { id: order.id, token }, "").await;
    assert_eq!((seen.status, &seen.body["number"]), (StatusCode::OK, &Value::from(number)));
}

/// Lets a worker handle this many deliveries, then stops it. Waits on the worker's log, because unhandled deliveries
/// would return to the queue only after it has stopped.
async fn handle_mails(shop: &mut Shop, deliveries: usize) {
    shop.start_worker_with(&["email.*"], &[PUBLIC_URL]).await;
    let worker = &shop.workers()[0];
    until("every delivery is handled", async || {
        let handled = handled(worker);
        if handled >= deliveries { Ok(()) } else { Err(handled) }
    })
    .await;
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
}

/// Returns the number of deliveries that a worker has applied or recognised as duplicates, from its log.
fn handled(worker: &Child) -> usize {
    let number = |line: &String, name: &str| line.split(name).nth(1)?.split_whitespace().next()?.parse::<usize>().ok();
    let count = |line: &String| match line {
        line if line.contains("an event is applied") => Some(1),
        line if line.contains("already applied events were delivered again") => number(line, "deliveries="),
        _ => None,
    };
    worker.log().iter().filter_map(count).sum()
}

const EMAIL_QUEUES: [&str; 3] = ["email.order-created", "email.payment-failed", "email.shipment-created"];

#[tokio::test(flavor = "multi_thread")]
async fn customers_get_each_mail_exactly_once() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[PUBLIC_URL]).await;
    let probe = shop.probe().await;
    let tap = probe.tap().await;
    shop.start_worker_with(&[], &[PUBLIC_URL]).await;
    let (shipped, shipped_answer) = place(&web, VISA).await;
    let (declined, declined_answer) = place(&web, DECLINED).await;
    shop.until_quiet().await;
    let directory = shop.mail_directory();
    let mails = in_directory(&directory);
    let names = |order: &Order, kind: &str| format!("{}.{kind}@example.org.eml", order.id);
    let expected = [
        ("received", &shipped, &shipped_answer),
        ("shipped", &shipped, &shipped_answer),
        ("received", &declined, &declined_answer),
        ("declined", &declined, &declined_answer),
    ];
    assert_eq!(mails.len(), expected.len(), "{:?}", mails.keys());
    for (kind, order, answer) in expected {
        is_about(&mails[&names(order, kind)], kind, order, answer, &web).await;
    }
    let tracking = &mails[&names(&shipped, "shipped")];
    assert!(tracking.text.contains("SIM") && tracking.html.contains("SIM"), "the tracking number: {tracking:?}");
    let refusal = &mails[&names(&declined, "declined")].text;
    assert!(refusal.contains("declined") && refusal.contains("not been charged"), "{refusal}");
    assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 4, "no partial mail is left");

    // Deliver the same events again: first as after a lost acknowledgement, then without their inbox rows, as after a
    // worker that died once it had sent the mail.
    let events = probe.take_all(&tap).await;
    assert_eq!(events.len(), 6);
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    for forget in [false, true] {
        if forget {
            shop.execute("DELETE FROM messaging.inbox WHERE subscription LIKE 'email.%'").await;
        }
        for name in mails.keys() {
            drop(fs::remove_file(directory.join(name)));
        }
        let mut deliveries = 0;
        for event in &events {
            let queue = format!("email.{}", event.routing_key.as_str().replace('.', "-"));
            if EMAIL_QUEUES.contains(&queue.as_str()) {
                // As from a retry tier.
                probe.publish("orders.return", &queue, &event.data).await;
                deliveries += 1;
            }
        }
        assert_eq!(deliveries, 4);
        handle_mails(&mut shop, deliveries).await;
        let again = in_directory(&directory);
        assert!(again.is_empty(), "inbox rows deleted: {forget}; mails repeated: {:?}", again.keys());
    }
    assert_eq!(shop.number("SELECT count(*) FROM email.mails WHERE sent_at IS NOT NULL").await, 4);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_the_server_rejects_temporarily_is_retried_and_arrives_once() {
    let mut shop = Shop::open().await;
    let sink = SmtpSink::start(1).await;
    let web = shop.start_web_with(&[PUBLIC_URL]).await;
    shop.start_worker_with(&[], &[PUBLIC_URL, ("MAIL", "smtp"), ("SMTP_URL", &sink.url)]).await;
    let (shipped, shipped_answer) = place(&web, VISA).await;
    shop.workers()[0].until_logged("it is tried again").await;
    let (declined, declined_answer) = place(&web, DECLINED).await;
    shop.until_quiet().await;

    let mails: Vec<Mail> = sink.mails().iter().map(|content| read(content)).collect();
    let expected = [
        ("received", &shipped, &shipped_answer),
        ("shipped", &shipped, &shipped_answer),
        ("received", &declined, &declined_answer),
        ("declined", &declined, &declined_answer),
    ];
    assert_eq!(mails.len(), expected.len(), "{mails:?}");
    for (kind, order, answer) in expected {
        let id = format!("<{}.{kind}@example.org>", order.id);
        let mail = mails.iter().find(|mail| mail.id == id).unwrap_or_else(|| panic!("no {id} in {mails:?}"));
        is_about(mail, kind, order, answer, &web).await;
    }
    // The refused mail was tried twice, the others once. Between its tries it waited in the first retry tier.
    let recipients = sink.recipients();
    assert_eq!(recipients.len(), expected.len() + 1, "{recipients:?}");
    assert!(recipients.iter().all(|line| line.starts_with("RCPT TO:<bob@example.org>")), "{recipients:?}");
    let tried: Vec<_> = shop.workers()[0].log().into_iter().filter(|line| line.contains("it is tried again")).collect();
    assert_eq!(tried.len(), 1, "{tried:?}");
    assert!(tried[0].contains("email.") && tried[0].contains("attempt=1") && tried[0].contains("451"), "{tried:?}");
    assert!(tried[0].contains("again_in=200ms") && !tried[0].contains("bob@"), "{tried:?}");
    assert!(!shop.mail_directory().exists(), "with SMTP, no mail is written to a file");
    shop.close().await;
}

/// Returns a mail's decoded header fields and parts: everything that its reader may see.
fn seen(content: &[u8]) -> String {
    let mail = mailparse::parse_mail(content).expect("it is a mail");
    let headers = mail.headers.iter().map(|header| format!("{}: {}\n", header.get_key(), header.get_value()));
    let parts = mail.subparts.iter().map(|part| part.get_body().expect("it can be decoded"));
    headers.chain(parts).collect()
}

/// Anybody can place orders with a stranger's address. The name that they type must not reach the stranger as an
/// advertisement from our sender. Mail to every accepted address must be deliverable, here by a server without
/// SMTPUTF8.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_address_gets_its_mail_and_no_advertisement_in_it() {
    let mut shop = Shop::open().await;
    let sink = SmtpSink::start(0).await;
    let web = shop.start_web_with(&[PUBLIC_URL]).await;
    shop.start_worker_with(&[], &[PUBLIC_URL, ("MAIL", "smtp"), ("SMTP_URL", &sink.url)]).await;
    let long = format!("WIN 1000 EUR: https://evil.example/{}", "x".repeat(160));
    for (name, email) in [
        (long.as_str(), "ada@müller.example"),
        ("evil.example", "o'hara+shop@example.org"),
        ("Call 0900-EVIL", "ada@例え.テスト"),
    ] {
        let mut order = body("MUG-BLUE", 1, VISA);
        order["customer"] = serde_json::json!({ "name": name, "email": email });
        drop(web.place(&key(), &order).await.accepted());
    }
    shop.until_quiet().await;
    let mut recipients = sink.recipients();
    recipients.sort();
    let expected = ["ada@xn--mller-kva.example", "ada@xn--r8jz45g.xn--zckzah", "o'hara+shop@example.org"];
    // Each order has two mails: received, shipped.
    let expected: Vec<_> =
        expected.iter().flat_map(|to| [format!("RCPT TO:<{to}>"), format!("RCPT TO:<{to}>")]).collect();
    assert_eq!(recipients.iter().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>(), expected);
    let mails = sink.mails();
    assert_eq!(mails.len(), 6);
    for mail in mails {
        assert!(mail.is_ascii(), "the mail needs no SMTPUTF8");
        let seen = seen(&mail);
        assert!(seen.contains("Hello,"), "{seen}");
        assert!(!seen.to_lowercase().contains("evil") && !seen.contains("1000 EUR"), "{seen}");
    }
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters").await, 0);
    shop.close().await;
}
