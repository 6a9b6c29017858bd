//! The API as its clients see it: the real service in process, spoken to over a real connection.

mod bound;
mod check;
mod check_batch;
mod check_subscriptions;
mod check_ways;
mod coverage;
mod directory;
mod escalation;
mod guard;
mod hangup;
mod keys;
mod keys_list;
mod keys_lookup;
mod last_administrator;
mod passthrough;
mod raw;
mod recoverable;
mod replay;
mod rows;
mod rows_directory;
mod rows_keys;
mod secrets;
mod stage;
mod update;
mod workspaces;
