//! Where a listener listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::domain::invalid::Invalid;

/// The longest path of a Unix socket: `sun_path` without its final zero byte.
const MAX_SOCKET_PATH: usize = 107;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address and a port; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether both can't be listened on at once. Port 0 is another port each time.
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => a == b && a.port() != 0,
            _ => self == other,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(Invalid::new("names no path; give `unix:PATH`")),
                1..=MAX_SOCKET_PATH => Ok(Self::Unix(PathBuf::from(path))),
                _ => Err(Invalid::new(format!(
                    "is too long: the path of a socket has at most {MAX_SOCKET_PATH} bytes"
                ))),
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            Invalid::new(
                "is no address; give an IP address and a port such as `127.0.0.1:50051` or `[::1]:50051`, or `unix:PATH`",
            )
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in [
            "127.0.0.1:50051",
            "0.0.0.0:0",
            "[::1]:0",
            "unix:/run/claviger.sock",
            "unix:rel",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        let long = format!("unix:{}", "x".repeat(108));
        for bad in [
            "",
            "127.0.0.1",
            "localhost:1",
            ":50051",
            "[::1]",
            "1.2.3.4:99999",
            "unix:",
            "/run/x",
            &long,
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_chosen_port_can_clash() {
        let at = |text: &str| text.parse::<ListenAddress>().unwrap();
        assert!(at("127.0.0.1:1").clashes_with(&at("127.0.0.1:1")));
        assert!(!at("127.0.0.1:0").clashes_with(&at("127.0.0.1:0")));
        assert!(!at("127.0.0.1:1").clashes_with(&at("[::1]:1")));
        assert!(at("unix:a").clashes_with(&at("unix:a")));
    }
}
