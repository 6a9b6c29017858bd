//! What a decision went through, step by step, for whoever asks why it came out as it did.
//!
//! The same code decides and explains: each check reports to a [`Trace`], and the one that listens to nothing costs
//! nothing, for it is compiled away.

use crate::domain::decision::Reason;

/// One of the ordered checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// What is demanded.
    Demand,
    /// That there is exactly one credential.
    Credential,
    /// Whose it is.
    Identity,
    /// That secret, key and workspace are in force.
    Life,
    /// Where the request comes from.
    Network,
    /// How the key was presented.
    Presentation,
    /// For which subscription.
    Subscription,
    /// The scopes demanded.
    Scopes,
    /// What is demanded beside the key.
    Factors,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Self; 9] = [
        Self::Demand,
        Self::Credential,
        Self::Identity,
        Self::Life,
        Self::Network,
        Self::Presentation,
        Self::Subscription,
        Self::Scopes,
        Self::Factors,
    ];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "DEMAND",
            Self::Credential => "CREDENTIAL",
            Self::Identity => "IDENTITY",
            Self::Life => "LIFE",
            Self::Network => "NETWORK",
            Self::Presentation => "PRESENTATION",
            Self::Subscription => "SUBSCRIPTION",
            Self::Scopes => "SCOPES",
            Self::Factors => "FACTORS",
        }
    }
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed, and decided.
    Failed(Reason),
    /// It failed, and was only reported.
    Shadowed(Reason),
    /// There was nothing for it to check.
    Skipped,
    /// An earlier one had decided.
    NotReached,
}

/// Who listens to a decision.
pub(super) trait Trace {
    /// Notes what became of a check. The detail is for people, holds no secret, and is only made where somebody listens.
    fn note(&mut self, check: Check, outcome: Outcome, detail: impl FnOnce() -> String);

    /// The same for checks whose failure is only reported.
    fn excusing(&mut self) -> Excusing<'_, Self>
    where
        Self: Sized,
    {
        Excusing(self)
    }

    /// Notes a check that passed or decides, and hands its result on.
    fn step<T, E: Copy + Into<Reason>>(
        &mut self,
        check: Check,
        result: Result<T, E>,
        detail: impl FnOnce(&Result<T, E>) -> String,
    ) -> Result<T, Reason> {
        let outcome = match &result {
            Ok(_) => Outcome::Passed,
            Err(fault) => Outcome::Failed((*fault).into()),
        };
        self.note(check, outcome, || detail(&result));
        result.map_err(Into::into)
    }
}

/// Listens for another, where what fails does not decide.
pub(super) struct Excusing<'t, T>(&'t mut T);

impl<T: Trace> Trace for Excusing<'_, T> {
    fn note(&mut self, check: Check, outcome: Outcome, detail: impl FnOnce() -> String) {
        let outcome = match outcome {
            // Nothing lets a dead key pass.
            Outcome::Failed(reason) if !reason.is_dead_key() => Outcome::Shadowed(reason),
            other => other,
        };
        self.0.note(check, outcome, detail);
    }
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Untraced;

impl Trace for Untraced {
    #[inline(always)]
    fn note(&mut self, _: Check, _: Outcome, _: impl FnOnce() -> String) {}
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The check.
    pub check: Check,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, for people; no secrets.
    pub detail: String,
}

/// Keeps every step.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// One step for every check, in order, those that did not happen too.
    pub(super) fn whole(mut self) -> Vec<Step> {
        let decided = |step: &Step| matches!(step.outcome, Outcome::Failed(_));
        let (outcome, detail) = match self.0.iter().find(|step| decided(step)) {
            Some(step) => (
                Outcome::NotReached,
                format!("{} decided before", step.check.as_str()),
            ),
            None => (Outcome::Skipped, "nothing to check".to_owned()),
        };
        for check in Check::ALL {
            if !self.0.iter().any(|step| step.check == check) {
                self.0.push(Step {
                    check,
                    outcome,
                    detail: detail.clone(),
                });
            }
        }
        self.0.sort_by_key(|step| step.check);
        self.0
    }
}

impl Trace for Steps {
    fn note(&mut self, check: Check, outcome: Outcome, detail: impl FnOnce() -> String) {
        self.0.push(Step {
            check,
            outcome,
            detail: detail(),
        });
    }
}
