//! The outside world behind traits: payment provider, carrier, mail.
