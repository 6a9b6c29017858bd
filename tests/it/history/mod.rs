//! Replicas under faults, and a proof of what they answered: everything that callers saw is written down, and a checker says
//! whether it can be true of replicas that revoke together.

mod bench;
mod checker;
mod dice;
mod events;
mod fates;
mod faults;
mod hand;
mod hand_made;
mod load;
mod many;
mod notes;
mod proven;
mod random;
mod revoked;
mod worth;
mod writer;
