//! Profiles: endpoints that the user logged in to, each with its token, in `claviger/profiles.json` of the user's
//! configuration.
//!
//! Invariant: the file is for its owner alone, and a token goes only to the endpoint that it was stored for.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::failure::{Exit, Failure};
use super::file::Replacement;
use super::io::Io;

/// A token at rest in memory: never shown, and wiped when it is dropped.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(super) struct StoredToken(String);

impl StoredToken {
    pub(super) fn new(token: String) -> Self {
        Self(token)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// One endpoint and who the user is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) endpoint: String,
    pub(super) token: StoredToken,
}

/// All profiles.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profiles {
    /// The one that is used where none is named.
    #[serde(default)]
    pub(super) current: Option<String>,
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, Profile>,
}

/// Where the profiles are; none where the user has no home.
pub(super) fn path(io: &Io<'_>) -> Option<PathBuf> {
    let set = |name: &str| {
        (io.environment)(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("claviger").join("profiles.json"))
}

impl Profiles {
    /// Reads them; empty where there are none yet. Refuses a file that others may read or write.
    pub(super) fn load(io: &Io<'_>) -> Result<Self, Failure> {
        let Some(path) = path(io) else {
            return Ok(Self::default());
        };
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("`{}` can't be read: {error}", path.display()))
        };
        let mode = match fs::metadata(&path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        };
        if mode & 0o077 != 0 {
            return Err(Failure::usage(format!(
                "`{}` holds tokens, and others than you may read or write it (mode {:03o})",
                path.display(),
                mode & 0o777
            ))
            .hint(format!(
                "`chmod 600 {}` closes it; tokens that others may have read should be regenerated",
                path.display()
            )));
        }
        let mut text = fs::read(&path).map_err(|error| unreadable(&error))?;
        // What serde says of a fault may quote what it found; say only where.
        let profiles = serde_json::from_slice(&text).map_err(|error| {
            unreadable(&format!(
                "line {} is not what `claviger login` writes",
                error.line()
            ))
        });
        text.zeroize();
        profiles
    }

    /// Writes them, whole or not at all, for their owner alone.
    pub(super) fn save(&self, io: &Io<'_>) -> Result<(), Failure> {
        let path = path(io).ok_or_else(|| {
            Failure::usage("there is no place for profiles: neither `XDG_CONFIG_HOME` nor `HOME` is an absolute path")
        })?;
        let unwritable = |error: &dyn std::fmt::Display| {
            Failure::new(
                Exit::Failed,
                format!("`{}` can't be written: {error}", path.display()),
            )
        };
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|error| unwritable(&error))?;
        }
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| unwritable(&error))?;
        let written = Replacement::of(&path).and_then(|mut file| {
            file.write_all(&text)?;
            file.write_all(b"\n")?;
            file.commit()
        });
        text.zeroize();
        written.map_err(|error| unwritable(&error))
    }

    /// The profile of this name, or the current one; none where none is named and none is current.
    pub(super) fn pick(mut self, name: Option<&str>) -> Result<Option<(String, Profile)>, Failure> {
        let Some(name) = name.or(self.current.as_deref()).map(str::to_owned) else {
            return Ok(None);
        };
        match self.profiles.remove(&name) {
            Some(profile) => Ok(Some((name, profile))),
            None => Err(no_such(&name)),
        }
    }
}

/// There is no profile of this name.
pub(super) fn no_such(name: &str) -> Failure {
    Failure::usage(format!("there is no profile `{name}`")).hint(format!(
        "`claviger profiles list` shows those there are; `claviger login --profile {name}` makes it"
    ))
}

/// Whether two endpoints are the same one, however they are spelled.
pub(super) fn same_endpoint(one: &str, other: &str) -> bool {
    fn plain(endpoint: &str) -> &str {
        let endpoint = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        endpoint.trim_end_matches('/')
    }
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::super::io::testing::Captured;
    use super::*;

    fn home(dir: &std::path::Path) -> Captured {
        Captured {
            environment: vec![("HOME", dir.to_str().unwrap().to_owned())],
            ..Captured::default()
        }
    }

    #[test]
    fn profiles_are_kept_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut captured = home(dir.path());
        let io = captured.io();
        let mut profiles = Profiles::load(&io).map_err(|f| f.exit).unwrap();
        assert!(profiles.pick(None).is_ok_and(|none| none.is_none()));
        profiles = Profiles::default();
        let profile = Profile {
            endpoint: "http://a:1".to_owned(),
            token: StoredToken::new("the-token".to_owned()),
        };
        assert!(!format!("{profile:?}").contains("the-token"));
        profiles.profiles.insert("a".to_owned(), profile);
        profiles.current = Some("a".to_owned());
        profiles.save(&io).map_err(|f| f.exit).unwrap();
        let path = path(&io).unwrap();
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let (name, read) = Profiles::load(&io)
            .and_then(|p| p.pick(None))
            .map_err(|f| f.exit)
            .unwrap()
            .unwrap();
        assert_eq!((name.as_str(), read.token.reveal()), ("a", "the-token"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Profiles::load(&io).err().unwrap().exit, Exit::Usage);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, r#"{"profiles": "the-token"}"#).unwrap();
        let fault = Profiles::load(&io).err().unwrap();
        drop(io);
        fault.report(&mut captured.io());
        assert!(captured.err().contains("line 1"), "{}", captured.err());
        assert!(!captured.err().contains("the-token"), "{}", captured.err());
    }

    #[test]
    fn the_configuration_directory_is_the_users_choice() {
        let mut captured = Captured {
            environment: vec![
                ("HOME", "/h".to_owned()),
                ("XDG_CONFIG_HOME", "/x".to_owned()),
            ],
            ..Captured::default()
        };
        assert_eq!(
            path(&captured.io()).unwrap(),
            PathBuf::from("/x/claviger/profiles.json")
        );
        captured.environment.remove(1);
        assert_eq!(
            path(&captured.io()).unwrap(),
            PathBuf::from("/h/.config/claviger/profiles.json")
        );
        captured.environment.clear();
        assert_eq!(path(&captured.io()), None);
    }

    #[test]
    fn an_endpoint_is_the_same_however_it_is_spelled() {
        assert!(same_endpoint("http://a:1/", "a:1"));
        assert!(same_endpoint("unix:/s", "unix:/s"));
        assert!(!same_endpoint("http://a:1", "http://a:2"));
        assert!(!same_endpoint("http://a:1", "http://a:1@b:1"));
    }
}
