//! Replicas under faults, and a proof of what they answered: everything that callers saw is written down, and a checker says
//! whether it can be true of replicas that revoke together.

mod checker;
mod events;
mod hand_made;
