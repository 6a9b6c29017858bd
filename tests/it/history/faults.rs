//! What goes wrong in a run: each kind of fault some times, in an order and for as long as chance has it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bench::Bench;
use super::dice::Dice;
use crate::harness::Fault;

/// What happens to one replica, or to the database of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// `kill -9`, and a start.
    Kill,
    /// The same while the database can't be reached: it starts from what it kept.
    KillCutOff,
    /// Its process stands still.
    Stop,
    /// Nothing passes between it and the database.
    Freeze,
    /// What it asks of the database is done, and it hears of nothing.
    Mute,
    /// Whatever passes between them takes its time.
    Delay,
    /// It can't reach the database.
    Refuse,
    /// Its connections to the database end, once.
    Cut,
    /// Those of who changes things at it end.
    HangUp,
    /// Those get no answers.
    Silence,
    /// PostgreSQL ends at once, and is started again.
    DatabaseKilled,
    /// PostgreSQL stands still.
    DatabaseStopped,
}

impl Trouble {
    pub(super) const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillCutOff,
        Self::Stop,
        Self::Freeze,
        Self::Mute,
        Self::Delay,
        Self::Refuse,
        Self::Cut,
        Self::HangUp,
        Self::Silence,
        Self::DatabaseKilled,
        Self::DatabaseStopped,
    ];
}

/// So many of each kind, in any order.
pub(super) fn some_of_each(times: usize, dice: &mut Dice) -> Vec<Trouble> {
    let mut all: Vec<Trouble> = Trouble::ALL.repeat(times);
    dice.shuffle(&mut all);
    all
}

/// How many of each.
pub(super) fn count(troubles: &[Trouble]) -> String {
    let mut counts: BTreeMap<Trouble, usize> = BTreeMap::new();
    for trouble in troubles {
        *counts.entry(*trouble).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(t, n)| format!("{t:?} {n}")).collect();
    counts.join(", ")
}

impl Bench {
    /// Lets the load go on for a while.
    pub(super) fn for_a_while(&self, time: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    /// A replica, or all of them, get into trouble for so long, and out of it.
    pub(super) fn suffer(&mut self, trouble: Trouble, seat: usize, time: Duration) {
        let database = |bench: &Self, fault| bench.seats[seat].database.set(fault);
        match trouble {
            Trouble::Kill => {
                self.kill(seat);
                self.for_a_while(time / 4);
                self.start(seat);
            }
            Trouble::KillCutOff => {
                database(self, Fault::Refuse);
                self.kill(seat);
                self.start(seat);
                self.for_a_while(time / 2);
                database(self, Fault::None);
            }
            Trouble::Stop => {
                self.signal(seat, "STOP");
                self.for_a_while(time);
                self.signal(seat, "CONT");
            }
            Trouble::Freeze => self.during(Fault::Freeze, seat, time),
            Trouble::Mute => self.during(Fault::Mute, seat, time),
            Trouble::Delay => self.during(Fault::Delay(time / 20), seat, time),
            Trouble::Refuse => self.during(Fault::Refuse, seat, time),
            Trouble::Cut => self.seats[seat].database.cut(),
            Trouble::HangUp => self.front(seat, |front| front.cut()),
            Trouble::Silence => {
                self.front(seat, |front| front.set(Fault::Mute));
                self.for_a_while(time);
                // What was not said is lost.
                self.front(seat, |front| {
                    front.cut();
                    front.set(Fault::None);
                });
            }
            Trouble::DatabaseKilled => {
                self.stage.postgres.stop();
                self.for_a_while(time / 2);
                self.stage.postgres.serve();
            }
            Trouble::DatabaseStopped => {
                self.stage.postgres.freeze();
                self.for_a_while(time);
                self.stage.postgres.thaw();
            }
        }
    }

    fn during(&self, fault: Fault, seat: usize, time: Duration) {
        self.seats[seat].database.set(fault);
        self.for_a_while(time);
        self.seats[seat].database.set(Fault::None);
    }

    fn front(&self, seat: usize, work: impl Fn(&crate::harness::Proxy)) {
        work(self.seats[seat].front.as_ref().expect("it lives"));
    }
}
