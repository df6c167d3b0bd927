//! How fast one client address may place orders.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use actix_web::HttpRequest;
use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock as _};
use tokio_util::sync::CancellationToken;

use super::{
    background,
    problem::{Code, Problem},
};

/// How often addresses that have not ordered for a while are forgotten: it bounds the memory that they take.
const FORGET: Duration = Duration::from_secs(60);

/// The limiter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimit {
    limiter: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    trusted: Arc<[IpAddr]>,
}

impl RateLimit {
    /// At most `per_minute` orders a minute from one address. Starts a task on the current runtime that ends with `stop`.
    #[must_use]
    pub fn start(per_minute: NonZeroU32, trusted: &[IpAddr], stop: CancellationToken) -> Self {
        let limiter = Arc::new(DefaultKeyedRateLimiter::keyed(Quota::per_minute(per_minute)));
        let forgetting = Arc::clone(&limiter);
        tokio::spawn(async move {
            while background::pause(FORGET, &stop).await {
                forgetting.retain_recent();
            }
        });
        Self { limiter, trusted: trusted.into() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429, with the time after which the next one is taken.
    pub fn admit(&self, request: &HttpRequest) -> Result<(), Problem> {
        let Some(peer) = request.peer_addr() else { return Ok(()) };
        let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let client = client(peer.ip(), forwarded, &self.trusted);
        self.limiter.check_key(&client).map_err(|refused| {
            let wait = refused.wait_time_from(self.limiter.clock().now());
            Problem::new(Code::TooManyRequests, "Nothing was stored. Try again later.")
                .retry_after(wait.as_secs().saturating_add(1))
        })
    }
}

/// Who asks: the last address of the chain that is not one of our proxies. What stands before it, anybody can make up.
fn client<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer.to_canonical();
    let chain: Vec<&str> = forwarded.flat_map(|header| header.split(',')).collect();
    for hop in chain.iter().rev() {
        if !trusted.contains(&client) {
            break;
        }
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    match client {
        IpAddr::V4(_) => client,
        // A household or a server has a /64: its single addresses cost nothing.
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let address = |text: &&str| text.parse().expect("an address");
        let trusted: Vec<IpAddr> = trusted.iter().map(address).collect();
        client(address(&peer), forwarded.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"], &[]), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"], &["192.0.2.1"]), "203.0.113.9");
    }

    #[test]
    fn what_a_client_put_before_its_own_address_is_not_believed() {
        let trusted = ["192.0.2.1", "192.0.2.2"];
        assert_eq!(seen("192.0.2.1", &["1.1.1.1, 203.0.113.9, 192.0.2.2"], &trusted), "203.0.113.9");
        assert_eq!(seen("192.0.2.1", &["1.1.1.1", "203.0.113.9"], &trusted), "203.0.113.9");
        assert_eq!(seen("192.0.2.1", &["nonsense"], &trusted), "192.0.2.1");
    }

    #[test]
    fn a_64_of_version_6_is_one_client_and_a_mapped_address_is_version_4() {
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[], &[]), "2001:db8:1:2::");
        assert_eq!(seen("::ffff:192.0.2.1", &[], &[]), "192.0.2.1");
    }
}
