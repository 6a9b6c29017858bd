//! Why a request is allowed or denied: the decision, by the very code that makes it, with all its steps. Nothing is noted
//! of it: no count, no use of a secret.

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::decide::{self, Presented, Question, Step, Verdict};
use crate::domain::revision::Revision;
use crate::domain::time::Time;

/// A decision with all its steps.
#[derive(Debug)]
pub struct Explained<'v> {
    /// The decision.
    pub verdict: Verdict<'v>,
    /// What became of each check, in order.
    pub steps: Vec<Step>,
    /// The revision decided at.
    pub revision: Revision,
    /// The time decided at.
    pub time: Time,
}

impl Core {
    /// Explains a request to a caller, and hands it to `answer` while the view that it rests on is held. Who may not see a
    /// key is told of none.
    pub fn explain<R>(
        &self,
        caller: &Caller,
        question: &Question<'_>,
        at: Option<Time>,
        answer: impl FnOnce(&Explained<'_>) -> R,
    ) -> Result<R, Error> {
        self.may_decide()?;
        let time = at.unwrap_or_else(|| self.clock.now());
        let index = self.index.now();
        let view = index.view();
        if let Presented::Supposed { key, secret, .. } = question.presented {
            let key = view
                .key(key)
                .filter(|key| key.workspace.as_str() == question.workspace)
                .filter(|key| caller.may_bind(&key.subscriptions))
                .ok_or_else(|| Error::not_found("key"))?;
            if secret.is_some_and(|id| !key.secrets.iter().any(|s| s.id() == id)) {
                return Err(Error::not_found("secret"));
            }
        }
        let (verdict, steps) = decide::explain(question, &view, time);
        if let Some((key, _)) = verdict.key
            && !caller.may_bind(&key.subscriptions)
        {
            return Err(Error::not_found("key"));
        }
        Ok(answer(&Explained {
            verdict,
            steps,
            revision: view.revision,
            time,
        }))
    }
}
