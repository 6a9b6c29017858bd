//! Between the wire and the domain: what comes in is checked whole, with the path of each field at fault.

mod credential;
mod directory;
mod fleet;
mod import;
mod input;
mod key;
mod key_query;
mod lifecycle;
mod mask;
mod postback;
mod principal;
mod route;
mod secret;
mod workspace;

pub(super) use directory::*;
pub(super) use fleet::*;
pub(super) use import::*;
pub(super) use input::*;
pub(super) use key::*;
pub(super) use key_query::*;
pub(super) use route::*;

pub(super) use lifecycle::*;
pub(super) use postback::*;

pub(super) use principal::*;
pub(super) use secret::*;
pub(super) use workspace::*;
