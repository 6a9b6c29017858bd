//! The API as its clients see it: the real service in process, spoken to over a real connection.

mod check;
mod check_batch;
mod coverage;
mod directory;
mod escalation;
mod guard;
mod hangup;
mod keys;
mod keys_list;
mod last_administrator;
mod passthrough;
mod replay;
mod rows;
mod rows_directory;
mod secrets;
mod stage;
mod update;
