//! Use cases over a store that fails on demand, and one administrator to call them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claviger::app::Core;
use claviger::app::auth::Caller;
use claviger::app::authorize::{DecisionCounts, Surface};
use claviger::app::directory::{NewSubscription, SubscriptionEdit, WorkspaceEdit};
use claviger::app::envelope::Envelope;
use claviger::app::error::{Code, Error};
use claviger::app::fleet::{Alone, Fleet, Propagation, SinceBoot, Wait};
use claviger::app::keys::{Edit, NewKey, Source};
use claviger::app::last_used::LastUsed;
use claviger::app::mutate::{Answer, Call, Repeat};
use claviger::app::ports::fleet::{Identity, Me, Replicas};
use claviger::app::ports::{
    Clock, Entropy as _, Feed as _, Keep, KeepNothing, Meta, Store, StoreError,
};
use claviger::app::postbacks::Postbacks;
use claviger::app::postbacks::strangers::Strangers;
use claviger::app::recorder::Recorder;
use claviger::decide::{Attributes, Demand, Presented, Question, decide};
use claviger::deliver::{Allowed, Client, Limits, SystemResolver};
use claviger::domain::decision::Reason;
use claviger::domain::id::{KeyId, ReplicaId, SubscriptionId, WorkspaceId};
use claviger::domain::key::{Key, KeySettings};
use claviger::domain::revision::Revision;
use claviger::domain::scope::AdminScope;
use claviger::domain::time::Time;
use claviger::domain::token::Token;
use claviger::domain::workspace::{Presentation, Subscription, Workspace};
use claviger::feed::Follower;
use claviger::index::{Index, Live};
use claviger::server::{SystemClock, SystemEntropy};
use claviger::store::SqlStore;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::records::FaultyRecords;
use super::store::FaultyStore;
use crate::harness::SuiteDatabase;

/// A key of the default workspace, and what opens it.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) id: KeyId,
    token: String,
}

/// A process over a store that fails on demand.
pub(super) struct Stage {
    ground: Arc<Ground>,
    pub(super) store: FaultyStore,
    pub(super) records: FaultyRecords,
    pub(super) core: Arc<Core>,
    pub(super) follower: Arc<Follower>,
    caller: Caller,
}

/// What processes share.
struct Ground {
    _dir: TempDir,
    _database: Option<SuiteDatabase>,
    real: SqlStore,
    envelope: Envelope,
    epoch: u32,
    token: OnceLock<Token>,
}

/// What makes a process of a fleet.
pub(super) struct Part {
    pub(super) id: u128,
    pub(super) strict: bool,
    pub(super) replicas: Arc<dyn Replicas>,
    pub(super) keep: Arc<dyn Keep>,
    pub(super) since_boot: SinceBoot,
}

/// Hands out ids that nobody has.
struct Ids;

impl Identity for Ids {
    fn anew(&self) -> Result<ReplicaId, StoreError> {
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random).unwrap();
        Ok(ReplicaId::from_u128(u128::from_be_bytes(random)))
    }
}

pub(super) async fn stage() -> Stage {
    stage_by(Arc::new(SystemClock)).await
}

/// The same by another clock.
pub(super) async fn stage_by(clock: Arc<dyn Clock>) -> Stage {
    let part = Part {
        id: 1,
        strict: false,
        replicas: Arc::new(Alone::new(Arc::new(SystemClock))),
        keep: Arc::new(KeepNothing),
        since_boot: Arc::new(|| Duration::ZERO),
    };
    let stage = Ground::lay().await.process(clock, part).await;
    stage.core.join().await.unwrap();
    stage
}

/// The same as part of a fleet that it has not joined yet.
pub(super) async fn stage_of(part: Part) -> Stage {
    let ground = Ground::lay().await;
    ground.process(Arc::new(SystemClock), part).await
}

impl Ground {
    async fn lay() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let database = SuiteDatabase::create();
        let real = match &database {
            Some(database) => SqlStore::connect(&database.url()).await,
            None => SqlStore::open(&dir.path().join("claviger.db")).await,
        };
        let real = real.unwrap();
        let (envelope, wrapped_keys) = Envelope::create(&[7; 32], &SystemEntropy).unwrap();
        let meta = Meta {
            epoch: 7,
            wrapped_keys,
            bootstrapped: false,
        };
        real.initialise(&meta).await.unwrap();
        Arc::new(Self {
            _dir: dir,
            _database: database,
            real,
            envelope,
            epoch: meta.epoch,
            token: OnceLock::new(),
        })
    }

    async fn process(self: &Arc<Self>, clock: Arc<dyn Clock>, part: Part) -> Stage {
        let (real, envelope) = (self.real.clone(), self.envelope.clone());
        let records = FaultyRecords::new(real.records());
        let store = FaultyStore::new(real.clone());
        let nobody = Client::new(
            Arc::new(SystemResolver),
            Allowed::default(),
            Limits::default(),
            None,
        )
        .unwrap();
        let index = Arc::new(Live::new(Index::new(envelope.lookup().clone(), self.epoch)));
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let follower = Follower::keeping(shared.clone(), index.clone(), part.keep);
        let follower = Arc::new(follower);
        let me = Me {
            id: ReplicaId::from_u128(part.id),
            name: "faulty".to_owned(),
            version: String::new(),
            strict: part.strict,
            start_time: started(),
        };
        let core = Arc::new(Core {
            store: shared,
            index,
            feed: follower.clone(),
            clock,
            entropy: Arc::new(SystemEntropy),
            envelope,
            last_used: LastUsed::new().0,
            recorder: Recorder::new(0x1122_3344_5566_7788, 2),
            records: Arc::new(records.clone()),
            postbacks: Postbacks::new(Arc::new(real), Arc::new(nobody), Strangers::new().0, false),
            fleet: Fleet::new(me, Arc::new(Ids), part.replicas, part.since_boot),
            exercised: claviger::app::exercised::ExercisedGrants::default(),
            leaked: std::sync::atomic::AtomicU64::new(0),
            tasks: TaskTracker::new(),
            imports: tokio::sync::Semaphore::new(1),
            default_workspace: workspace(),
        });
        if self.token.get().is_none() {
            let (token, prefix) = core.administrator_token().unwrap();
            core.bootstrap(token.clone(), Some(prefix)).await.unwrap();
            self.token.set(token).unwrap();
        }
        follower.load().await.unwrap();
        let now = core.clock.now();
        let caller = Caller::authenticate(
            self.token.get().unwrap().reveal().as_bytes(),
            None,
            None,
            &core.index.now().view(),
            now,
            &core.last_used,
        )
        .unwrap();
        Stage {
            ground: self.clone(),
            store,
            records,
            core,
            follower,
            caller,
        }
    }
}

/// When a process started: no two at the same time.
fn started() -> Time {
    static STARTED: AtomicI64 = AtomicI64::new(1);
    Time::from_micros(STARTED.fetch_add(1, Ordering::Relaxed))
}

/// The workspace that all keys of these tests are of.
pub(super) fn workspace() -> WorkspaceId {
    "acme".parse().unwrap()
}

pub(super) fn subscription() -> SubscriptionId {
    "gold".parse().unwrap()
}

/// The failure that leaves open whether the change was made.
pub(super) fn is_unknown<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert_eq!(
        (error.code, error.reason),
        (Code::Unavailable, "OUTCOME_UNKNOWN"),
        "{error}"
    );
}

/// What tells one call from another, for who repeats it.
pub(super) fn request(id: u8) -> Option<Repeat> {
    Some(Repeat {
        request_id: [id; 16],
        request: vec![id].into(),
    })
}

/// A name, and nothing else.
pub(super) fn settings() -> KeySettings {
    KeySettings {
        display_name: "key".to_owned(),
        ..KeySettings::default()
    }
}

impl Stage {
    /// Another process on the same database, of the same fleet or not; it has loaded everything, and not joined.
    pub(super) async fn another(&self, part: Part) -> Self {
        self.ground.process(Arc::new(SystemClock), part).await
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    pub(super) async fn key(&self) -> Made {
        let new = NewKey {
            workspace: workspace(),
            settings: settings(),
            primary: Source::Generate(None),
            secondary: None,
        };
        let call = self.call("CreateKey", AdminScope::KeysWrite, None);
        let answer = self.core.create_key(call, new).await.unwrap();
        let made = Made {
            id: answer.value.id,
            token: answer.tokens[0].token.reveal().to_owned(),
        };
        assert_eq!(self.ask(&made), Reason::Ok);
        made
    }

    pub(super) async fn make_subscription(&self) {
        let now = self.core.clock.now();
        let new = Subscription {
            workspace: workspace(),
            id: subscription(),
            display_name: "Gold".to_owned(),
            enabled: true,
            create_time: now,
            update_time: now,
            revision: 0,
        };
        let call = self.call("CreateSubscription", AdminScope::DirectoryWrite, None);
        let new = NewSubscription {
            subscription: new,
            key: None,
        };
        self.core.create_subscription(call, new).await.unwrap();
    }

    pub(super) async fn edit(
        &self,
        key: &Made,
        edit: Edit,
        repeat: Option<Repeat>,
    ) -> Result<Answer<Key>, Error> {
        let call = self.call("UpdateKey", AdminScope::KeysWrite, repeat);
        self.core
            .update_key(call, key.id, String::new(), vec![edit])
            .await
    }

    pub(super) async fn disable(
        &self,
        key: &Made,
        repeat: Option<Repeat>,
    ) -> Result<Answer<Key>, Error> {
        self.edit(key, Edit::Enabled(false), repeat).await
    }

    /// Disables a key, and waits for so long that it is everywhere.
    pub(super) async fn disable_everywhere(&self, key: &Made, most: Duration) -> Propagation {
        let call = Call {
            wait: Wait::AllReplicas(most),
            ..self.call("UpdateKey", AdminScope::KeysWrite, None)
        };
        let edits = vec![Edit::Enabled(false)];
        let answer = self.core.update_key(call, key.id, String::new(), edits);
        answer.await.unwrap().propagation.expect("it waited")
    }

    pub(super) async fn rename(
        &self,
        key: &Made,
        repeat: Option<Repeat>,
    ) -> Result<Answer<Key>, Error> {
        self.edit(key, Edit::DisplayName("renamed".to_owned()), repeat)
            .await
    }

    pub(super) async fn edit_workspace(
        &self,
        edit: WorkspaceEdit,
    ) -> Result<Answer<Workspace>, Error> {
        let call = self.call("UpdateWorkspace", AdminScope::DirectoryWrite, None);
        self.core
            .update_workspace(call, workspace(), String::new(), vec![edit], false)
            .await
    }

    pub(super) async fn edit_subscription(
        &self,
        edit: SubscriptionEdit,
    ) -> Result<Answer<Subscription>, Error> {
        let call = self.call("UpdateSubscription", AdminScope::DirectoryWrite, None);
        let named = (workspace(), subscription());
        self.core
            .update_subscription(call, named, String::new(), vec![edit])
            .await
    }

    /// What a request with this key is answered now.
    pub(super) fn ask(&self, key: &Made) -> Reason {
        self.ask_for(key, "")
    }

    /// The same for a request that is accounted to a subscription.
    pub(super) fn ask_for(&self, key: &Made, subscription: &str) -> Reason {
        let workspace = workspace();
        let question = Question {
            workspace: workspace.as_str(),
            presented: Presented::Token(key.token.as_bytes(), Presentation::Bearer),
            source_ip: None,
            all_of: Demand::NONE,
            any_of: Demand::NONE,
            subscription,
            must_demand: false,
            attributes: Attributes::default(),
        };
        let index = self.core.index.now();
        let view = index.view();
        decide(&question, &view, self.core.clock.now()).reason
    }

    /// Decides as the service does: what a decision leaves behind is recorded.
    pub(super) fn decide(&self, key: &Made) -> Reason {
        let workspace = workspace();
        let question = Question {
            workspace: workspace.as_str(),
            presented: Presented::Token(key.token.as_bytes(), Presentation::Bearer),
            source_ip: "192.0.2.7".parse().ok(),
            all_of: Demand::NONE,
            any_of: Demand::NONE,
            subscription: "",
            must_demand: false,
            attributes: Attributes::default(),
        };
        let counts = DecisionCounts::default();
        self.core
            .decide(Surface::Authorize, &question, &counts, |verdict, _| {
                verdict.reason
            })
            .unwrap()
    }

    /// Whether a key is refused only because nobody knows what became of a change of it.
    pub(super) fn in_doubt(&self, key: &Made) -> bool {
        self.core
            .index
            .now()
            .view()
            .key(key.id)
            .unwrap()
            .is_closed()
    }

    /// The same of the workspace.
    pub(super) fn workspace_in_doubt(&self) -> bool {
        let index = self.core.index.now();
        let view = index.view();
        view.workspace(workspace().as_str()).unwrap().is_closed()
    }

    /// Asks the feed for news, as is done now and then although nobody changed anything here.
    pub(super) async fn hear(&self) -> Result<(), StoreError> {
        self.follower.catch_up(self.at(0)).await
    }

    /// A revision of the history that is followed.
    pub(super) fn at(&self, n: u64) -> Revision {
        let applied = self.core.index.applied();
        Revision { n, ..applied }
    }

    pub(super) fn applied(&self) -> u64 {
        self.core.index.applied().n
    }

    /// An empty index of the history that is followed.
    pub(super) fn fresh(&self) -> Arc<Live> {
        let lookup = self.core.envelope.lookup().clone();
        Arc::new(Live::new(Index::new(lookup, self.core.index.epoch())))
    }

    /// The index is what a new process would load from the database: every record whole, and nothing is in doubt.
    pub(super) async fn index_equals_database(&self, keys: &[&Made]) {
        let fresh = self.fresh();
        let follower = Follower::new(Arc::new(self.store.clone()), fresh.clone());
        follower.load().await.unwrap();
        assert_eq!(self.core.index.applied(), fresh.applied());
        assert_eq!(self.core.index.len(), fresh.len());
        let (our, their) = (self.core.index.now(), fresh.now());
        let (ours, theirs) = (our.view(), their.view());
        for key in keys {
            assert_eq!(
                format!("{:?}", ours.key(key.id).unwrap()),
                format!("{:?}", theirs.key(key.id).unwrap())
            );
        }
        let (our, their) = (
            ours.workspace(workspace().as_str()).unwrap(),
            theirs.workspace(workspace().as_str()).unwrap(),
        );
        assert_eq!(our.enabled, their.enabled);
        assert!(!our.is_closed());
        assert_eq!(
            ours.subscription_enabled(workspace().as_str(), subscription().as_str()),
            theirs.subscription_enabled(workspace().as_str(), subscription().as_str())
        );
        let closed = self.core.index.closed();
        assert!(closed.keys.is_empty() && closed.workspaces.is_empty());
    }

    fn call(&self, method: &'static str, right: AdminScope, repeat: Option<Repeat>) -> Call {
        Call {
            caller: self.caller.clone(),
            right,
            method,
            repeat,
            dry_run: false,
            wait: Wait::Local,
        }
    }
}
