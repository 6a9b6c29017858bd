//! The process: how it starts, stops, and stands what happens to it.

mod aged;
mod backup;
mod faults;
mod hangup;
mod killed;
mod lifecycle;
mod listeners;
mod metrics;
mod offline;
mod postbacks;
mod refused;
mod rotation;
mod stopped;
mod watch;
