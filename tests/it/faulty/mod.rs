//! What stays true when the database fails: whoever may have lost access is refused until the feed has spoken, and nobody
//! else.
//!
//! Inside this process, for no real database fails on demand: the use cases, the follower and the index are the real ones,
//! over the real store, with a layer between that fails when it is told to.

mod doubt;
mod fleet;
mod follow;
mod history;
mod import;
mod list;
mod places;
mod purge;
mod recording;
mod records;
mod retention;
mod stage;
mod store;
mod verify;
mod watch;
