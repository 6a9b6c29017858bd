//! POSTbacks: where they may go, what an event of them is, when it is tried again.

use std::time::Duration;

use super::invalid::Invalid;

/// Most bytes of an event's data.
pub const MAX_DATA: usize = 16 * 1_024;
/// The type of the event that only tests a URL.
pub const TEST_EVENT: &str = "postback.test";

/// How long after a failed attempt the next one follows: together a day, at the moments that Standard Webhooks recommend
/// (5 seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours after the first).
pub const RETRIES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(295),
    Duration::from_secs(25 * 60),
    Duration::from_secs(90 * 60),
    Duration::from_secs(3 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(4 * 3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(4 * 3_600),
];

/// How long to wait after an attempt that failed, the first being 1; none: it was the last. `chance` moves it by up to a
/// tenth either way, so that what failed together does not come back together.
pub fn retry_after(attempts: u32, chance: u8) -> Option<Duration> {
    let at = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let base = RETRIES.get(at)?;
    Some(base.mul_f64(0.9 + 0.2 * f64::from(chance) / 255.0))
}

/// A URL that events can be POSTed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host: a name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Host and port as they stand in the URL.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Destination {
    /// Reads a URL: `https`, a host, no user, no fragment, at most 2,048 visible ASCII characters, port 443 or one from
    /// 1024 up; `http` to loopback alone. What the host resolves to is checked when it is connected to, not here.
    pub fn parse(url: &str) -> Result<Self, Invalid> {
        let wrong = |what: &str| {
            Invalid::new(format!(
                "{what}; give an absolute URL such as `https://example.com/hook`"
            ))
        };
        if url.len() > 2_048 {
            return Err(wrong("is longer than 2,048 characters"));
        }
        if !url.bytes().all(|b| matches!(b, 0x21..=0x7e))
            || url.contains(['\\', '"', '<', '>', '`', '{', '}', '|', '^'])
        {
            return Err(wrong("has characters that a URL must percent-encode"));
        }
        if url.contains('#') {
            return Err(wrong("has a fragment"));
        }
        let uri: http::Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let authority = uri
            .authority()
            .filter(|a| !a.host().is_empty())
            .ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("names a user"));
        }
        if authority.as_str().ends_with(':') {
            return Err(wrong("has an empty port"));
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        // No zones, no escapes: what others read otherwise than we do.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !host.bytes().all(plain) && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(wrong("has a host that is neither a name nor an address"));
        }
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(host) => false,
            _ => return Err(wrong("is not an `https` URL")),
        };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(_) => authority
                .port_u16()
                .ok_or_else(|| wrong("has a port that is none"))?,
            None => return Err(wrong("is not a URL")),
        };
        // Below are mail, names, shells and their like, which must not be talked to by whoever may set a URL.
        if port < 1_024 && port != if tls { 443 } else { 80 } {
            return Err(wrong("names a port below 1024 that is not 443"));
        }
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            authority: authority.as_str().to_owned(),
            path: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |p| p.as_str().to_owned()),
        })
    }

    /// What is flooded where it is flooded: host and port.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Where a URL leads, for limits on it; empty: nowhere.
pub fn place(url: &str) -> String {
    Destination::parse(url).map_or_else(|_| String::new(), |to| to.place())
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// The id that a publisher gives an event: 1 to 128 visible ASCII characters.
pub fn check_event_id(id: &str) -> Result<(), Invalid> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Invalid::new(
            "must be 1 to 128 visible ASCII characters that tell the event from all others of the key",
        ))
    }
}

/// The type of an event: segments of `[A-Za-z0-9_]` joined by `.`, at most 128 characters.
pub fn check_type(text: &str) -> Result<(), Invalid> {
    let segment = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_'))
    };
    if text.len() <= 128 && text.split('.').all(segment) {
        Ok(())
    } else {
        Err(Invalid::new(
            "is not an event's type: segments of `[A-Za-z0-9_]` joined by `.`, at most 128 characters, such as `message.delivered`",
        ))
    }
}

/// The type of an event that a service publishes.
pub fn check_published_type(text: &str) -> Result<(), Invalid> {
    check_type(text)?;
    if ["key", "postback"].contains(&text.split('.').next().unwrap_or_default()) {
        return Err(Invalid::new(
            "begins with `key` or `postback`, which are Claviger's own; choose another first segment",
        ));
    }
    Ok(())
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is tried, or waits for its next attempt.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// The text that the database keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Dead => "DEAD",
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The workspace has no signing secret.
    NoSigningSecret,
    /// The key has no URL any more.
    NoUrl,
    /// The URL can't be used.
    InvalidUrl,
    /// The host's name can't be resolved.
    NotResolved,
    /// The host leads to where it must not.
    AddressRefused,
    /// No connection.
    NotConnected,
    /// TLS failed.
    Tls,
    /// It took too long.
    Timeout,
    /// No HTTP came back.
    Broken,
    /// A redirect, which is not followed.
    Redirect,
    /// Another status than 2xx.
    Status,
    /// 410: it will never be taken.
    Gone,
    /// The process ended during the attempt.
    Interrupted,
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 13] = [
        Self::NoSigningSecret,
        Self::NoUrl,
        Self::InvalidUrl,
        Self::NotResolved,
        Self::AddressRefused,
        Self::NotConnected,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::Redirect,
        Self::Status,
        Self::Gone,
        Self::Interrupted,
    ];

    /// The text that the database keeps, and metrics say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSigningSecret => "NO_SIGNING_SECRET",
            Self::NoUrl => "NO_URL",
            Self::InvalidUrl => "INVALID_URL",
            Self::NotResolved => "NOT_RESOLVED",
            Self::AddressRefused => "ADDRESS_REFUSED",
            Self::NotConnected => "NOT_CONNECTED",
            Self::Tls => "TLS",
            Self::Timeout => "TIMEOUT",
            Self::Broken => "BROKEN",
            Self::Redirect => "REDIRECT",
            Self::Status => "STATUS",
            Self::Gone => "GONE",
            Self::Interrupted => "INTERRUPTED",
        }
    }

    /// Whether another attempt can't end otherwise.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::NoUrl | Self::InvalidUrl | Self::Gone)
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_with_a_host_are_accepted() {
        for good in [
            "https://example.com/hook?x=1",
            "https://[2001:db8::1]:8443/hook",
            "https://example.com:443",
            "http://127.0.0.1:8080/hook",
            "http://localhost/hook",
            "http://[::1]:3000/",
        ] {
            assert!(Destination::parse(good).is_ok(), "{good}");
        }
        for url in [
            "",
            "example.com",
            "http://example.com",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "https://",
            "https:///x",
            "https://u:p@example.com/",
            "https://u@127.0.0.1/",
            "https://example.com/#f",
            "https://exa mple.com",
            "ftp://example.com",
            "https://example.com/\u{7f}",
            "https://example.com:/",
            "https://example.com:0/",
            "https://example.com:22/",
            "https://example.com:80/",
            "https://example.com:99999/",
            "https://e\\x",
            "https://[::1%eth0]/",
        ] {
            assert!(Destination::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_destination_is_taken_apart() {
        let to = Destination::parse("https://EXAMPLE.com/a/b?c=d").unwrap();
        assert_eq!(
            (to.tls, &*to.host, to.port, &*to.path),
            (true, "example.com", 443, "/a/b?c=d")
        );
        assert_eq!(
            (to.authority.as_str(), to.place()),
            ("EXAMPLE.com", "example.com:443".to_owned())
        );
        let to = Destination::parse("https://[2001:db8::1]:8443").unwrap();
        assert_eq!((&*to.host, to.port, &*to.path), ("2001:db8::1", 8443, "/"));
        assert_eq!(place("nonsense"), "");
    }

    #[test]
    fn attempts_go_on_for_a_day_and_end() {
        let total: Duration = RETRIES.iter().sum();
        assert_eq!(total, Duration::from_secs(24 * 3_600));
        assert_eq!(retry_after(0, 0), None);
        assert_eq!(retry_after(1, 0), Some(Duration::from_millis(4_500)));
        assert_eq!(retry_after(1, 255), Some(Duration::from_millis(5_500)));
        assert_eq!(retry_after(10, 0), None);
        for attempts in 1..=9 {
            let (least, most) = (retry_after(attempts, 0), retry_after(attempts, 255));
            assert!(least < most, "{attempts}");
        }
    }

    #[test]
    fn types_of_events_keep_their_shape_and_leave_ours_alone() {
        for good in ["message.delivered", "receipt", "a.b_c.D9"] {
            assert!(check_published_type(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            "a..b",
            "a-b",
            "a b",
            "key.created",
            "key",
            "postback.test",
            &"x".repeat(129),
        ] {
            assert!(check_published_type(bad).is_err(), "{bad}");
        }
        assert!(check_type(TEST_EVENT).is_ok());
    }

    #[test]
    fn the_list_of_failures_is_whole_and_in_order() {
        for (i, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure.index(), i);
        }
    }
}
