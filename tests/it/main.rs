//! The integration tests, in one binary.

#[cfg(test)]
mod api;
#[cfg(test)]
mod decide_oracle;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod oracle;
