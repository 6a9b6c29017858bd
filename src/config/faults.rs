//! Collects what is wrong with the settings.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::address::ListenAddress;
use super::secret::{from_environment, read_secret_file};
use crate::domain::invalid::Invalid;

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) lines: Vec<String>,
}

impl Faults {
    pub(super) fn add(&mut self, flag: &str, message: impl fmt::Display) {
        self.lines.push(format!("{}: {message}", name(flag)));
    }

    pub(super) fn read<T>(
        &mut self,
        flag: &str,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        if text.is_empty() && !["trusted-proxies", "postback-allow"].contains(&flag) {
            self.add(flag, "is empty; give it a value or unset it");
            return None;
        }
        read(text)
            .map_err(|fault| self.add(flag, format!("{text:?} {fault}")))
            .ok()
    }

    pub(super) fn clashes(&mut self, listeners: &[(&str, Option<&ListenAddress>)]) {
        for (i, (flag, address)) in listeners.iter().enumerate() {
            for (earlier, other) in listeners.iter().take(i) {
                if let (Some(address), Some(other)) = (address, other)
                    && address.clashes_with(other)
                {
                    self.add(
                        flag,
                        format!("`{address}` is the address of `--{earlier}` too; choose another"),
                    );
                }
            }
        }
    }

    /// Reads a secret; unlike with [`Self::read`], its text is in no fault.
    pub(super) fn secret<T>(
        &mut self,
        source: Source<'_>,
        read: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let Source {
            variable,
            flag,
            file,
            value,
        } = source;
        let (place, text) = match (value, file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                let both = "is set too; a secret comes from one place, so unset one";
                self.add(flag, format!("`{variable}` {both}"));
                return None;
            }
            (Some(value), None) => (format!("`{variable}`"), from_environment(value)),
            (None, Some(path)) => (name(flag), read_secret_file(&path)),
        };
        text.and_then(|text| read(&text))
            .map_err(|fault| self.lines.push(format!("{place}: {fault}")))
            .ok()
    }
}

/// Where a secret may come from.
pub(super) struct Source<'a> {
    pub(super) variable: &'a str,
    pub(super) flag: &'a str,
    pub(super) file: Option<PathBuf>,
    pub(super) value: Option<OsString>,
}

/// A flag and its variable.
pub(super) fn name(flag: &str) -> String {
    let variable = flag.to_ascii_uppercase().replace('-', "_");
    format!("`--{flag}` (`CLAVIGER_{variable}`)")
}
