//! Calls that are made again: the answer they were given, with its tokens for as long as those may be had.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::Core;
use crate::app::auth::{Caller, rights_to_open_now};
use crate::app::error::{Code, Error};
use crate::app::mutate::{Answer, Call, Done, Issued, Repeat};
use crate::app::ports::{IdempotencyRecord, REPLAY_PERIOD};
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, SecretId};
use crate::domain::revision::Revision;
use crate::domain::secret::Slot;

impl Core {
    fn repeat_ids(&self, call: &Call, repeat: &Repeat) -> ([u8; 32], [u8; 32]) {
        let lookup = self.envelope.lookup();
        let caller = call.caller.key.to_bytes();
        let mut id: Vec<&[u8]> = vec![&caller, call.method.as_bytes(), &repeat.request_id];
        let mut request: Vec<&[u8]> = vec![&repeat.request];
        // What one user of a portal was given is no other's, and what the metadata says is part of the request.
        if call.caller.on_behalf {
            id.extend(
                call.caller
                    .principal
                    .as_ref()
                    .map(|id| id.as_str().as_bytes()),
            );
        }
        let default = call.caller.default_subscription.as_ref();
        request.extend(default.map(|id| id.as_str().as_bytes()));
        let id = lookup.derive("request-id", &id);
        (id, lookup.derive("request", &request))
    }

    pub(super) async fn replay<T: DeserializeOwned>(
        &self,
        call: &Call,
        caller: &Caller,
        scene: &mut Scene,
    ) -> Result<Option<Answer<T>>, Error> {
        let Some(repeat) = &call.repeat else {
            return Ok(None);
        };
        let (id, fingerprint) = self.repeat_ids(call, repeat);
        let Some(record) = scene.tx.idempotency(&id).await? else {
            return Ok(None);
        };
        if record.fingerprint != fingerprint {
            let message = "this `request_id` was used for another request; use a new one for each call, and the same one only to repeat it";
            let mut error = Error::new(Code::InvalidArgument, "REQUEST_ID_REUSED", message);
            error
                .fields
                .push(("request_id".to_owned(), message.to_owned()));
            return Err(error);
        }
        let stored: Stored<T> = serde_json::from_str(&record.answer).map_err(Error::internal)?;
        let replay = self
            .envelope
            .replay_key(call.caller.key, call.method, &repeat.request_id);
        let mut tokens = Vec::new();
        for issued in &stored.issued {
            let sealed = record
                .sealed
                .iter()
                .find(|(secret, _)| *secret == issued.secret);
            if scene.now >= record.create_time.plus(REPLAY_PERIOD)
                || !may_have(scene, caller, issued).await?
            {
                continue;
            }
            let token =
                sealed.and_then(|(_, sealed)| replay.open(issued.key, issued.secret, sealed));
            tokens.extend(token.map(|token| Issued {
                key: issued.key,
                secret: issued.secret,
                slot: issued.slot,
                token,
            }));
        }
        Ok(Some(Answer {
            value: stored.value,
            revision: Some(Revision {
                epoch: stored.epoch,
                n: stored.n,
            }),
            token_withheld: tokens.len() < stored.issued.len(),
            tokens,
            propagation: None,
        }))
    }

    pub(super) async fn remember<T: Serialize + Sync>(
        &self,
        call: &Call,
        done: &Done<T>,
        revision: Revision,
        scene: &mut Scene,
    ) -> Result<(), Error> {
        let Some(repeat) = &call.repeat else {
            return Ok(());
        };
        let (id, fingerprint) = self.repeat_ids(call, repeat);
        let replay = self
            .envelope
            .replay_key(call.caller.key, call.method, &repeat.request_id);
        let mut sealed = Vec::new();
        for issued in &done.tokens {
            let token = replay.seal(issued.key, issued.secret, &issued.token, &*self.entropy)?;
            sealed.push((issued.secret, token));
        }
        let stored = Stored {
            value: &done.value,
            epoch: revision.epoch,
            n: revision.n,
            issued: done
                .tokens
                .iter()
                .map(|t| StoredIssued {
                    key: t.key,
                    secret: t.secret,
                    slot: t.slot,
                })
                .collect(),
        };
        let record = IdempotencyRecord {
            id,
            fingerprint,
            answer: serde_json::to_string(&stored).map_err(Error::internal)?,
            key: done.tokens.first().map(|issued| issued.key),
            sealed,
            create_time: scene.now,
        };
        Ok(scene.tx.put_idempotency(&record).await?)
    }
}

/// Whether a caller may still be given a token that it was given once: it may have lost rights since, or the key gained
/// some.
async fn may_have(
    scene: &mut Scene,
    caller: &Caller,
    issued: &StoredIssued,
) -> Result<bool, Error> {
    let Some(key) = scene.tx.key(issued.key).await? else {
        return Ok(false);
    };
    let live = key.delete_time.is_none()
        && key
            .secrets
            .iter()
            .any(|s| s.id == issued.secret && s.is_live(scene.now));
    let rights = rights_to_open_now(&mut *scene.tx, &key).await?;
    Ok(live && caller.may_see(&key) && caller.require_all(&rights, "").is_ok())
}

/// An answer as its idempotency record keeps it.
#[derive(Serialize, serde::Deserialize)]
struct Stored<T> {
    value: T,
    epoch: u32,
    n: u64,
    issued: Vec<StoredIssued>,
}

#[derive(Serialize, serde::Deserialize)]
struct StoredIssued {
    key: KeyId,
    secret: SecretId,
    slot: Slot,
}
