//! What administrators are told of what happened, and why.

pub mod audit;
pub mod changed;
pub mod explain;
pub mod place;
