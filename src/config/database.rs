//! The URL of a PostgreSQL database. It may hold a password, so nothing shows it.

use std::fmt;
use std::str::FromStr;

use url::Url;
use zeroize::Zeroizing;

use crate::domain::invalid::Invalid;

/// What may follow the `?`. The driver logs a parameter that it does not know, with its value.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
    "statement-cache-capacity",
];
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Where the database is, and who we are there. Wiped when dropped; its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Zeroizing<String>);

impl DatabaseUrl {
    /// The URL with its password: for whoever connects, and for nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(redacted)")
    }
}

impl FromStr for DatabaseUrl {
    type Err = Invalid;

    /// Space around it does not count: files end with a line break.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        match scheme {
            Some("postgres" | "postgresql") => {}
            Some("sqlite") => {
                return Err(Invalid::new(
                    "names SQLite, which needs no URL; unset it, and set `--data-dir` to the directory of `claviger.db`",
                ));
            }
            Some(_) if text.contains("://") => {
                return Err(Invalid::new(
                    "is not a PostgreSQL URL; give `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or unset it for SQLite",
                ));
            }
            _ => {
                return Err(Invalid::new(
                    "is not a URL; give `postgres://USER:PASSWORD@HOST:PORT/DATABASE`",
                ));
            }
        }
        let url = Url::parse(text)
            .ok()
            // What is not encoded in a password ends up elsewhere: its rest as path or fragment.
            .filter(|url| url.fragment().is_none() && !url.path().contains('@'))
            .ok_or_else(|| {
                Invalid::new(
                    "can't be read; give `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and percent-encode what is special in user and password (`/` as `%2F`, `@` as `%40`, `#` as `%23`)",
                )
            })?;
        for (name, value) in url.query_pairs() {
            parameter(&name, &value)?;
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

fn parameter(name: &str, value: &str) -> Result<(), Invalid> {
    let number = || value.parse::<u16>().is_ok();
    match name {
        "sslmode" if !SSL_MODES.contains(&value) => Err(Invalid::new(format!(
            "has an unknown `sslmode`; it is one of `{}`",
            SSL_MODES.join("`, `")
        ))),
        "port" | "statement-cache-capacity" if !number() => {
            Err(Invalid::new(format!("has a `{name}` that is no number")))
        }
        "hostaddr" if value.parse::<std::net::IpAddr>().is_err() => {
            Err(Invalid::new("has a `hostaddr` that is no IP address"))
        }
        known if PARAMETERS.contains(&known) => Ok(()),
        _ => Err(Invalid::new(format!(
            "has an unknown parameter; known are `{}`",
            PARAMETERS.join("`, `")
        ))),
    }
}
