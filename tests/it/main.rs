//! The integration tests, in one binary: the rules of the code, and the real `claviger` binary, before it real clients and
//! the real Envoy.
//!
//! Every process is started on port 0 or a Unix socket and in a folder of its own, so the tests run side by side.

#[cfg(test)]
mod api;
#[cfg(test)]
mod client;
#[cfg(test)]
mod decide_oracle;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod envoy;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod go;
#[cfg(test)]
mod grpcurl;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod history;
#[cfg(test)]
mod large;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod node;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod principals;
#[cfg(test)]
mod process;
#[cfg(test)]
mod python;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod seeds;
