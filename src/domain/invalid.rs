//! Input that can't be accepted, and what to do about it.

/// A value that breaks a rule, in words that say what to do. The boundary adds the path of the field it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Path below the value that was checked (`[2]`, `labels.team`); empty: the value itself.
    pub path: String,
    /// What is wrong and what would be right. Never contains a secret.
    pub message: String,
}

impl Invalid {
    /// A fault of the value itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            message: message.into(),
        }
    }

    /// The same fault, seen from the container that holds the value under `segment`.
    #[must_use]
    pub fn at(mut self, segment: impl std::fmt::Display) -> Self {
        let segment = segment.to_string();
        self.path = if self.path.is_empty() {
            segment
        } else if self.path.starts_with('[') {
            format!("{segment}{}", self.path)
        } else {
            format!("{segment}.{}", self.path)
        };
        self
    }
}
