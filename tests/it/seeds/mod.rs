//! The documents of the systems that Claviger replaces, each followed from top to bottom as its user would.

mod nexosis;
mod storage;
