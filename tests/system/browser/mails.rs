//! The mails, as a mail program shows them.

use std::collections::BTreeMap;

use orderflow_tests::{Browser, DECLINED, DESKTOP, Maildev, Order, Received, Screen, Shop, VISA};

/// The kinds of mail: the test's name, the subject and some of the text of each.
const KINDS: [(&str, &str, &[&str]); 5] = [
    ("received", "We have received your order", &["Thank you for your order"]),
    ("declined", "was declined", &["You have not been charged", "nothing will be sent", "order again"]),
    ("shipped", "is on its way", &["with the carrier", "Tracking number: SIM"]),
    ("cancelled", "is cancelled", &["as you asked us to", "You have not been charged."]),
    ("refunded", "is cancelled and refunded", &["our carrier cannot take the parcel", "We have refunded", "79.90 EUR"]),
];

/// Mails link to the shop's page. Any address will do, since the test does not follow the links.
const PUBLIC_URL: (&str, &str) = ("PUBLIC_URL", "https://shop.example");

/// The pane in which a mail program shows a mail, on a desktop and on a phone. It ignores the mail's viewport tag.
const PANE: Screen = Screen { width: 720, height: 480, ..DESKTOP };
const NARROW_PANE: Screen = Screen { width: 390, ..PANE };

/// Returns one mail of each kind, with its order.
async fn one_of_each(shop: &mut Shop, maildev: &Maildev) -> BTreeMap<&'static str, (Received, Order)> {
    let web = shop.start_web_with(&[PUBLIC_URL]).await;
    // Cancelled before it is charged: no worker consumes its queue yet.
    let cancelled = web.order("MUG-BLUE", 1, VISA).await;
    let answer = web.cancel(&cancelled).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let mail = [PUBLIC_URL, ("MAIL", "smtp"), ("SMTP_URL", maildev.smtp_url.as_str())];
    shop.start_worker_without(&["payment.order-created"], &mail).await;
    shop.until_orders("cancelled", 1).await;
    shop.start_worker_with(&["payment.order-created"], &mail).await;

    let shipped = web.order("MUG-BLUE", 2, VISA).await;
    let declined = web.order("MUG-BLUE", 1, DECLINED).await;
    let refunded = web.order("BATTERY-BULK", 1, VISA).await;
    shop.until_quiet().await;
    let mails = maildev.mails().await;
    assert_eq!(mails.len(), 8, "four orders, each received and settled: {mails:#?}");
    let of = |order: &Order, kind: &str| {
        let id = format!("{}.{kind}@example.org", order.id);
        let mail = mails.iter().find(|mail| mail.message_id == id);
        mail.unwrap_or_else(|| panic!("no {id} in {mails:#?}")).clone()
    };
    BTreeMap::from([
        ("received", (of(&shipped, "received"), shipped.clone())),
        ("shipped", (of(&shipped, "shipped"), shipped)),
        ("declined", (of(&declined, "declined"), declined)),
        ("cancelled", (of(&cancelled, "cancelled"), cancelled)),
        ("refunded", (of(&refunded, "cancelled"), refunded)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs maildev"]
async fn every_kind_of_mail_is_shown_well_by_a_mail_program_in_pictures() {
    let mut shop = Shop::open().await;
    let maildev = Maildev::start().await;
    let mails = one_of_each(&mut shop, &maildev).await;
    let browser = Browser::open("about:blank", DESKTOP).await;
    for (kind, subject, words) in KINDS {
        let (mail, order) = &mails[kind];
        assert!(mail.subject.contains(subject), "{kind}: {}", mail.subject);
        let page = maildev.page(mail);
        browser.requests().await;
        browser.set(PANE).await;
        browser.go_to(&page).await;
        // The browser requests the icon of the server that shows the page, maildev.
        let loaded = browser.requests().await.into_iter().filter(|url| !url.ends_with("/favicon.ico"));
        assert_eq!(loaded.collect::<Vec<_>>(), [page], "{kind}: nothing else is loaded");
        let forms = [browser.text().await.to_lowercase(), mail.text.to_lowercase()];
        for word in words {
            assert!(
                forms.iter().all(|form| form.contains(&word.to_lowercase())),
                "{kind}: {word:?} is not in {forms:?}"
            );
        }
        let link = browser.run("return [...document.links].map(link => link.href)").await;
        let links = link.as_array().expect("a list");
        let [link] = links.as_slice() else { panic!("{kind}: {links:?}") };
        let link = link.as_str().expect("text");
        assert!(link.starts_with(&format!("https://shop.example/track/{}?t=v1.", order.id)), "{kind}: {link}");
        assert!(mail.text.contains(link), "{kind}: the text has the same link: {}", mail.text);
        for (screen, name) in
            [(PANE, ""), (PANE.dark(), "-dark"), (NARROW_PANE, "-phone"), (NARROW_PANE.dark(), "-phone-dark")]
        {
            browser.set(screen).await;
            browser.axe().await;
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(browser.run(fits).await, true, "{kind}{name}: nothing is wider than the screen");
            browser.picture(&format!("mail-{kind}{name}")).await;
        }
        browser.no_errors().await;
    }
    // In maildev's list, as in the demo.
    browser.set(DESKTOP).await;
    browser.go_to(&maildev.view(&mails["shipped"].0)).await;
    let shown = "const mail = document.querySelector('iframe')?.contentDocument;
        return mail?.body?.innerText.includes('Tracking number') ?? false";
    browser.until_true("maildev shows the mail", shown).await;
    browser.picture("mail-view").await;
    shop.close().await;
}
