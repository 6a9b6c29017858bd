//! The integration tests, in one binary: the rules of the code, and the real `claviger` binary, before it real clients and
//! the real Envoy.
//!
//! Every process is started on port 0 or a Unix socket and in a folder of its own, so the tests run side by side.

#[cfg(test)]
mod api;
#[cfg(test)]
mod decide_oracle;
#[cfg(test)]
mod envoy;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod grpcurl;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod process;
#[cfg(test)]
mod python;
#[cfg(test)]
mod readme;
