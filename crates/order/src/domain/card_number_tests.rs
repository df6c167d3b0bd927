//! Card numbers in every notation, and the other numbers that customers write.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{ISSUERS, looks_like_card_number, luhn};

/// Published test numbers of the issuers, from Stripe's and Adyen's documentation.
const CARDS: [&str; 15] = [
    "4242424242424242",
    "4111111111111111",
    "4000056655665556",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "371449635398431",
    "30569309025904",
    "36227206271667",
    "6011111111111117",
    "3566002020360505",
    "6205500000000000004",
    "6771798021000008",
    "6304000000000000000",
    "2200000000000004",
];

#[test]
fn card_numbers_are_found_however_they_are_written() {
    for text in [
        "4111.1111.1111.1111",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242/4242/4242/4242",
        "4242_4242_4242_4242",
        "(4242) 4242 - 4242 - 4242",
        "4242\u{a0}4242\u{2009}4242\u{3000}4242",
        "4242–4242—4242−4242",
        "4242\u{200b}4242\u{2060}4242\u{feff}4242",
        "4\u{200b}2\u{200d}4\u{ad}2\u{202e}4242\u{0}42424242",
        "4242,4242,4242,4242",
        "4242*4242*4242*4242",
        "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
        "４２４２４２４２４２４２４２４２",
        "𝟒𝟐𝟒𝟐 𝟒𝟐𝟒𝟐 𝟒𝟐𝟒𝟐 𝟒𝟐𝟒𝟐",
        "④②④②④②④②④②④②④②④②",
        "4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣4️⃣2️⃣",
        "٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢",
        "४२४२४२४२४२४२४२४२",
        "pm_4242424242424242",
        "my card is 4242 4242 4242 4242, thanks",
        "12 4242424242424242",
        "4242424242424242 123",
        "4242 4242 4242 4242 12/27 123",
        "Visa4242424242424242exp",
    ] {
        assert!(looks_like_card_number(text), "{text}");
    }
}

/// Every card with random separators between its digits: no notation gets a card number into the database.
#[test]
fn card_numbers_are_found_whatever_separates_their_digits() {
    const SEPARATORS: [&str; 16] =
        [" ", ".", "-", "–", "/", "_", "·", "\u{a0}", "\u{200b}", "\u{feff}", "\u{202e}", " - ", "..", "(", ")", "\t"];
    let mut random = StdRng::seed_from_u64(14);
    for _ in 0..2_000 {
        let card = CARDS[random.random_range(0..CARDS.len())];
        let full_width = random.random_bool(0.3);
        let mut text = ["", "no. ", "7, ", "c/o Kim "][random.random_range(0..4)].to_owned();
        for (place, digit) in card.chars().enumerate() {
            if place > 0 && random.random_bool(0.4) {
                text.push_str(SEPARATORS[random.random_range(0..SEPARATORS.len())]);
            }
            let wide = char::from_u32(0xFF10 + digit.to_digit(10).expect("a digit")).expect("a character");
            text.push(if full_width { wide } else { digit });
        }
        text.push_str(["", " 123", ", 12/27", " Kim"][random.random_range(0..4)]);
        assert!(looks_like_card_number(&text), "{text:?}");
    }
}

#[test]
fn every_issuer_is_recognised_by_prefix_length_and_check_digit() {
    for card in CARDS {
        assert!(looks_like_card_number(card), "{card}");
        let other = if card.ends_with('0') { "1" } else { "0" };
        assert!(!looks_like_card_number(&format!("{}{other}", &card[..card.len() - 1])), "a wrong check digit: {card}");
    }
    // A valid check digit and a card's length, but no issuer's prefix.
    for text in ["1234567890123452", "9999999999999995", "7000000000000005"] {
        assert!(luhn(text) && !looks_like_card_number(text), "{text}");
    }
    assert!(ISSUERS.iter().flat_map(|issuer| issuer.lengths).all(|length| (14..=19).contains(length)));
}

/// Numbers that customers write into addresses. Refusing one loses an order.
#[test]
fn other_numbers_are_accepted() {
    for text in [
        // 13 digits with a valid check digit, but no issuer begins with 0.
        "c/o Kim, tel. 0049 30 12345 03",
        "0049301234503",
        // EANs and GTINs: Coca-Cola, German, British, Swiss. Coca-Cola's check digit is valid for Luhn as well.
        "5449000000996",
        "EAN 5449000000996",
        "4006381333931",
        "4000417025005",
        "4012345678901",
        "5000112637922",
        "5018374350930",
        "7610207742059",
        "04006381333931",
        // Phone numbers.
        "+49 30 1234567",
        "+49 (0) 30 / 123 45 67 - 89",
        "0044 20 7946 0958",
        "+44 20 7946 0958, +44 20 7946 0959",
        "+1 (415) 555-2671 ext. 4321",
        "+86 138 1234 5678",
        "00 33 6 12 34 56 78",
        // IBANs, with and without groups: the examples of SWIFT's registry.
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "GB29 NWBK 6016 1331 9268 19",
        "GB29NWBK60161331926819",
        "FR14 2004 1010 0505 0001 3M02 606",
        "CH93 0076 2011 6238 5295 7",
        "NL91 ABNA 0417 1643 00",
        "AT61 1904 3002 3457 3201",
        "ES91 2100 0418 4502 0005 1332",
        "IT60 X054 2811 1010 0000 0123 456",
        "BE68 5390 0754 7034",
        // This one contains 4424 9160 1331 2688, which would pass as a Visa card.
        "DE29 4424 9160 1331 2688 22",
        // Tracking numbers: UPS, FedEx, USPS, DHL, Royal Mail.
        "1Z999AA10123456784",
        "9611020987654312345672",
        "9400 1000 0000 0000 0000 00",
        "9205 5000 0000 0000 0000 00",
        "00340434161094042557",
        "JJD000390007882823460",
        "RB123456785GB",
        // VAT ids.
        "ATU12345678",
        "DE123456789",
        "FR40303265045",
        "ESX9999999R",
        "GB 123 4567 73",
        "NL123456789B01",
        // Addresses, dates, methods, ids.
        "Building 4, Floor 11, Flat 1111, Gate 11",
        "2026-11-28 12:34:56.789",
        "Postfach 10 11 12, 10115 Berlin",
        "Packstation 145, Postnummer 1234567890",
        "Km 14.5, Carretera 57, 76269",
        "pm_card_visa",
        "pm_1NfVBnLkdIwHu7ixVUmpmQjC",
        "0198f1c2-7c00-7000-8000-00000000000a",
        "4242424242424241",
        "10115",
        "",
        "- -",
        "123456789012",
    ] {
        assert!(!looks_like_card_number(text), "{text}");
    }
}

#[test]
fn card_number_after_a_country_code_is_not_an_iban() {
    assert!(looks_like_card_number("DE4242 4242 4242 4242") && looks_like_card_number("DE 4242 4242 4242 4242"));
}

#[test]
fn numbers_far_apart_are_two_numbers() {
    assert!(!looks_like_card_number("4242 4242 .... 4242 4242"));
    assert!(!looks_like_card_number("4242 4242 or 4242 4242"));
}
