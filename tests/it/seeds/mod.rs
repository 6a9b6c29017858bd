//! The documents of the systems that Claviger replaces, each followed from top to bottom as its user would. `docs/parity.md`
//! maps their sentences to these tests.

mod connxio;
mod maximo;
mod nexosis;
mod walk;
mod workspace_platform;
