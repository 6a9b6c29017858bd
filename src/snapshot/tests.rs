//! What was kept comes back as it was, or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::app::ports::{
    Clock, Entropy, EntropyError, FeedBatch, Keep as _, Loaded, Standing, StoreError,
};
use crate::domain::id::{KeyId, PrincipalId, SecretId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::principal::Principal;
use crate::domain::route::{Route, RouteSettings};
use crate::domain::scope::Grant;
use crate::domain::secret::{Origin, Secret, Slot};
use crate::domain::token::Tag;
use crate::domain::workspace::{
    PresentationSet, Scope, Subscription, Workspace, WorkspaceSettings,
};

const ROOT: [u8; 32] = [5; 32];
const EPOCH: u32 = 0xabc;
const NEVER: Time = Time::from_micros(0);
/// However starved this machine is, what is waited for comes within it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ticks with each look.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Time {
        Time::from_micros(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let n = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = n[i % n.len()];
        }
        Ok(())
    }
}

/// A data directory, and what is needed to keep something there.
struct Place {
    dir: TempDir,
    meta: Meta,
    envelope: Envelope,
    clock: Arc<Ticking>,
    entropy: Arc<Counting>,
}

/// A keeper at work.
struct Working {
    keeper: Arc<Keeper>,
    meta: Meta,
    stop: CancellationToken,
    task: TaskTracker,
}

impl Place {
    fn new() -> Self {
        let entropy = Arc::new(Counting(AtomicU64::new(1)));
        let (envelope, wrapped_keys) = Envelope::create(&ROOT, &*entropy).unwrap();
        Self {
            dir: TempDir::new().unwrap(),
            meta: Meta {
                epoch: EPOCH,
                wrapped_keys,
                bootstrapped: true,
            },
            envelope,
            clock: Arc::new(Ticking(AtomicI64::new(1))),
            entropy,
        }
    }

    fn keeper(&self) -> Arc<Keeper> {
        let envelope = self.envelope.clone();
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        Arc::new(Keeper::new(self.dir.path(), &self.meta, envelope, clock, entropy).unwrap())
    }

    fn work(&self) -> Working {
        self.run(self.keeper())
    }

    /// One that goes on from what is there.
    fn resumed(&self, n: u64) -> Working {
        let keeper = self.keeper();
        keeper.resume(n).unwrap();
        self.run(keeper)
    }

    fn run(&self, keeper: Arc<Keeper>) -> Working {
        let (stop, task) = (CancellationToken::new(), TaskTracker::new());
        task.spawn(keep(keeper.clone(), stop.clone()));
        Working {
            keeper,
            meta: self.meta.clone(),
            stop,
            task,
        }
    }

    /// What is there, as a start finds it.
    fn restored(&self) -> Result<(Point, Vec<String>), Unusable> {
        let kept = Kept::find(self.dir.path(), &[&ROOT])?;
        assert_eq!(kept.meta(), &self.meta);
        let mut found = Vec::new();
        let point = kept.read(&mut |restored| found.push(format!("{restored:?}")))?;
        Ok((point, found))
    }

    fn reaches(&self) -> u64 {
        self.restored().unwrap().0.revision.n
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("snapshot")).unwrap();
        let mut found: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|e| e == extension));
        found.sort();
        found
    }

    fn journal(&self) -> PathBuf {
        self.files("journal").pop().unwrap()
    }
}

impl Working {
    async fn load(&self, pieces: &[Loaded], n: u64) -> Result<(), StoreError> {
        self.load_of(&self.meta, pieces, n).await
    }

    /// The same of a database that says this of itself.
    async fn load_of(&self, meta: &Meta, pieces: &[Loaded], n: u64) -> Result<(), StoreError> {
        let mut taking = self.keeper.begin(meta);
        for piece in pieces {
            taking.put(piece);
        }
        taking.finish(n).await
    }

    async fn apply(&self, batch: FeedBatch) {
        self.keeper.append(&batch);
        self.synced(batch.upto).await;
    }

    async fn synced(&self, n: u64) {
        let synced = tokio::time::timeout(PATIENCE, self.keeper.wait_for(n));
        synced.await.unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.close();
        self.task.wait().await;
    }
}

fn workspace(id: &str) -> WorkspaceId {
    id.parse().unwrap()
}

/// A key that has something everywhere where decisions look.
fn key(n: u8, revision: u64) -> Key {
    let secret = Secret {
        weak: true,
        prefix: "clv".to_owned(),
        retire_time: Some(Time::from_micros(7)),
        revoke_time: Some(Time::from_micros(8)),
        ..Secret::new(
            SecretId::from_u128(u128::from(n)),
            Slot::Primary,
            Tag::from_bytes([n; 32]),
            Origin::ExternalDigest,
            NEVER,
        )
    };
    Key {
        id: KeyId::from_u128(u128::from(n)),
        workspace: workspace("acme"),
        settings: KeySettings {
            scopes: vec![Grant::parse("read").unwrap()],
            principal: Some("anna".parse().unwrap()),
            subscriptions: vec!["gold".parse().unwrap()],
            allowed_cidrs: vec!["10.0.0.0/8".parse().unwrap()],
            postback_url: "https://example.com/".to_owned(),
            off_the_record: true,
            enabled: false,
            expire_time: Some(Time::from_micros(9)),
            labels: BTreeMap::from([("team".to_owned(), "a \"b\"\nc".to_owned())]),
            enforcement: Enforcement {
                shadow_scopes: true,
                ..Enforcement::default()
            },
            ..KeySettings::default()
        },
        secrets: vec![secret],
        create_time: NEVER,
        update_time: NEVER,
        delete_time: Some(Time::from_micros(10)),
        purge_time: None,
        revision,
    }
}

fn plain(n: u8, revision: u64) -> Key {
    Key {
        settings: KeySettings::default(),
        secrets: Vec::new(),
        delete_time: None,
        ..key(n, revision)
    }
}

fn directory() -> Vec<Loaded> {
    let acme = workspace("acme");
    let home = Workspace {
        id: acme.clone(),
        display_name: "Acme".to_owned(),
        enabled: true,
        settings: WorkspaceSettings {
            rotation_guard: Some(Duration::from_millis(1_500)),
            ..WorkspaceSettings::default()
        },
        create_time: NEVER,
        update_time: NEVER,
        revision: 1,
    };
    let scope = Scope {
        workspace: acme.clone(),
        name: "read".to_owned(),
        display_name: String::new(),
        description: String::new(),
        presentations: PresentationSet::defaults(),
        implies: Vec::new(),
        create_time: NEVER,
        update_time: NEVER,
        revision: 1,
    };
    let gold = Subscription {
        workspace: acme.clone(),
        id: "gold".parse().unwrap(),
        display_name: String::new(),
        enabled: true,
        create_time: NEVER,
        update_time: NEVER,
        revision: 2,
    };
    let route = Route {
        workspace: acme.clone(),
        id: "items".parse().unwrap(),
        settings: RouteSettings {
            path: Some("/v1/{id}".parse().unwrap()),
            ..RouteSettings::default()
        },
        keyless: true,
        create_time: NEVER,
        update_time: NEVER,
        revision: 3,
    };
    vec![
        Loaded::Workspace(Box::new(home), vec![scope]),
        Loaded::Subscription(gold),
        Loaded::Route(Box::new(route)),
        Loaded::Principal(anna(2)),
        Loaded::Key(Box::new(key(1, 4))),
        Loaded::Key(Box::new(plain(2, 4))),
    ]
}

fn anna(revision: u64) -> Principal {
    Principal {
        workspace: workspace("acme"),
        id: "anna".parse().unwrap(),
        display_name: "Anna".to_owned(),
        enabled: true,
        scopes: vec![Grant::parse("read").unwrap()],
        create_time: NEVER,
        update_time: NEVER,
        revision,
    }
}

/// One more key.
fn batch(n: u64) -> FeedBatch {
    let made = plain(u8::try_from(n).unwrap(), n);
    FeedBatch {
        upto: n,
        head: n,
        keys: vec![(made.id, Some(made))],
        ..FeedBatch::default()
    }
}

fn shown(pieces: &[Loaded]) -> Vec<String> {
    let pieces = pieces.iter().cloned();
    pieces
        .map(|piece| format!("{:?}", Restored::Piece(piece)))
        .collect()
}

/// A load and two changes, and others wait for the process.
async fn kept() -> Place {
    kept_in(Place::new()).await
}

async fn kept_in(place: Place) -> Place {
    let working = place.work();
    working.load(&directory(), 4).await.unwrap();
    working.keeper.stand(Standing::Entered).await.unwrap();
    for n in 5..=6 {
        working.apply(batch(n)).await;
    }
    working.end().await;
    place
}

#[tokio::test]
async fn what_was_loaded_and_what_came_later_comes_back_as_it_was() {
    let place = Place::new();
    let working = place.work();
    assert_eq!(working.keeper.kept(), u64::MAX);
    working.load(&directory(), 4).await.unwrap();
    assert_eq!(working.keeper.kept(), 4);
    working.keeper.stand(Standing::Entered).await.unwrap();
    let gone = FeedBatch {
        upto: 5,
        head: 6,
        workspaces: vec![(workspace("beta"), None)],
        subscriptions: vec![((workspace("acme"), "gold".parse().unwrap()), None)],
        routes: vec![((workspace("acme"), "items".parse().unwrap()), None)],
        principals: vec![((workspace("acme"), "anna".parse().unwrap()), Some(anna(5)))],
        keys: vec![
            (KeyId::from_u128(2), None),
            (KeyId::from_u128(3), Some(key(3, 5))),
        ],
        ..FeedBatch::default()
    };
    working.apply(gone.clone()).await;
    assert_eq!(working.keeper.kept(), 5);
    working.end().await;

    let (point, found) = place.restored().unwrap();
    assert_eq!((point.revision.epoch, point.revision.n), (EPOCH, 5));
    let mut expected = shown(&directory());
    expected.push(format!("{:?}", Restored::Batch(Box::new(gone))));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn nothing_in_the_files_can_be_read_without_the_key() {
    let place = kept().await;
    for file in [place.journal(), place.files("snapshot").pop().unwrap()] {
        let bytes = std::fs::read(file).unwrap();
        for word in [
            &b"acme"[..],
            b"Anna",
            b"read",
            b"example",
            &[1; 16],
            &[2; 16],
        ] {
            assert!(!bytes.windows(word.len()).any(|w| w == word), "{word:?}");
        }
    }
}

#[tokio::test]
async fn a_last_record_that_a_crash_cut_off_is_left_out_wherever_it_was_cut() {
    let place = kept().await;
    let journal = place.journal();
    let whole = std::fs::read(&journal).unwrap();
    let lengths = lengths(&whole);
    let last = whole.len() - lengths.last().unwrap();
    for cut in [last + 1, last + 7, last + 8, last + 20, whole.len() - 1] {
        std::fs::write(&journal, &whole[..cut]).unwrap();
        assert_eq!(place.reaches(), 5, "{cut}");
    }
    // The next life goes on from there, in a file of its own.
    let working = place.resumed(5);
    assert_eq!(working.keeper.kept(), 5);
    working.apply(batch(6)).await;
    working.apply(batch(7)).await;
    working.end().await;
    assert_eq!(place.reaches(), 7);
    // What the first journal had at its end was not there for the second.
    std::fs::write(&journal, &whole[..last - 10]).unwrap();
    assert!(matches!(place.restored(), Err(Unusable::Damaged { .. })));
}

/// The lengths of the parts of a file after its first bytes, each with what leads it.
fn lengths(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (8, Vec::new());
    while at < bytes.len() {
        let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        found.push(usize::try_from(len).unwrap() + 8);
        at += found.last().unwrap();
    }
    found
}

#[tokio::test]
async fn a_byte_that_was_flipped_in_header_length_or_record_makes_it_unusable() {
    let place = kept().await;
    for file in [place.journal(), place.files("snapshot").pop().unwrap()] {
        let whole = std::fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            std::fs::write(&file, &flipped).unwrap();
            assert!(place.restored().is_err(), "byte {at} of {}", file.display());
        }
        std::fs::write(&file, &whole).unwrap();
    }
    assert_eq!(place.reaches(), 6);
}

#[tokio::test]
async fn records_that_were_moved_dropped_doubled_or_taken_from_elsewhere_make_it_unusable() {
    let place = kept().await;
    let journal = place.journal();
    let whole = std::fs::read(&journal).unwrap();
    let mut parts = Vec::new();
    let mut rest = &whole[8..];
    for length in lengths(&whole) {
        let (part, others) = rest.split_at(length);
        parts.push(part.to_vec());
        rest = others;
    }
    let [head, entered, five, six] = parts.try_into().unwrap();
    // Another file under the same keys.
    let other = kept_in(Place {
        dir: TempDir::new().unwrap(),
        meta: place.meta.clone(),
        envelope: place.envelope.clone(),
        clock: place.clock.clone(),
        entropy: place.entropy.clone(),
    });
    let other = other.await;
    let theirs = std::fs::read(other.journal()).unwrap();
    let theirs = theirs[theirs.len() - six.len()..].to_vec();
    for wrong in [
        vec![&head, &entered, &six, &five],
        vec![&head, &entered, &six],
        vec![&head, &five, &six],
        vec![&head, &entered, &five, &five],
        vec![&head, &entered, &five, &theirs],
    ] {
        let parts: Vec<u8> = wrong.into_iter().flatten().copied().collect();
        std::fs::write(&journal, [&whole[..8], &parts].concat()).unwrap();
        assert!(matches!(place.restored(), Err(Unusable::Damaged { .. })));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_cut_off_is_never_taken_for_a_smaller_one() {
    let place = kept().await;
    let file = place.files("snapshot").pop().unwrap();
    let whole = std::fs::read(&file).unwrap();
    for cut in [0, 4, 8, 40, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert!(
            matches!(place.restored(), Err(Unusable::Damaged { .. })),
            "{cut}"
        );
    }
    let head = lengths(&whole)[0] + 8;
    std::fs::write(&file, &whole[..head]).unwrap();
    assert!(matches!(place.restored(), Err(Unusable::Damaged { .. })));
}

#[tokio::test]
async fn another_root_key_and_another_version_open_nothing() {
    let place = kept().await;
    let found = Kept::find(place.dir.path(), &[&[6; 32]]);
    assert!(matches!(found, Err(Unusable::RootKey)), "{found:?}");
    assert!(Kept::find(place.dir.path(), &[&[6; 32], &ROOT]).is_ok());

    let file = place.files("snapshot").pop().unwrap();
    let whole = std::fs::read(&file).unwrap();
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let at = whole
        .windows(version.len())
        .position(|w| w == version)
        .unwrap();
    let mut other = whole.clone();
    other[at] = b'9';
    std::fs::write(&file, other).unwrap();
    assert!(matches!(place.restored(), Err(Unusable::Version(_))));
}

#[tokio::test]
async fn who_is_not_waited_for_does_not_start_from_it() {
    let place = Place::new();
    assert!(matches!(place.restored(), Err(Unusable::Nothing)));
    let working = place.work();
    working.load(&directory(), 4).await.unwrap();
    assert!(matches!(place.restored(), Err(Unusable::NotEntered)));
    working.keeper.stand(Standing::Entered).await.unwrap();
    assert_eq!(place.reaches(), 4);
    working.keeper.stand(Standing::Left).await.unwrap();
    working.apply(batch(5)).await;
    assert!(matches!(place.restored(), Err(Unusable::NotEntered)));
    working.end().await;
    // The next life says nothing to be kept until it has replaced that, and begins as one that has not entered.
    let working = place.work();
    assert_eq!(working.keeper.kept(), 0);
    working.load(&directory(), 6).await.unwrap();
    assert_eq!(working.keeper.kept(), 6);
    assert!(matches!(place.restored(), Err(Unusable::NotEntered)));
    // A load in the middle of a life changes nothing of that.
    working.keeper.stand(Standing::Entered).await.unwrap();
    working.load(&directory(), 7).await.unwrap();
    assert_eq!(place.reaches(), 7);
    working.end().await;
}

#[tokio::test]
async fn a_long_journal_is_merged_into_the_snapshot_and_nothing_of_it_is_lost() {
    let place = Place::new();
    let working = place.work();
    let mut pieces = directory();
    working.load(&pieces, 4).await.unwrap();
    working.keeper.stand(Standing::Entered).await.unwrap();
    let mut changed = key(2, 5);
    let beta = workspace("beta");
    let bert = Principal {
        workspace: beta.clone(),
        id: PrincipalId::try_from("bert".to_owned()).unwrap(),
        ..anna(5)
    };
    let before = FeedBatch {
        upto: 5,
        head: 5,
        principals: vec![((beta.clone(), bert.id.clone()), Some(bert))],
        keys: vec![(KeyId::from_u128(1), None)],
        ..FeedBatch::default()
    };
    working.apply(before).await;
    let after = FeedBatch {
        upto: 6,
        head: 6,
        workspaces: vec![(beta, None)],
        ..FeedBatch::default()
    };
    working.apply(after).await;
    // Enough for a merge, and for another one after it.
    let first = place.files("snapshot");
    let mut n = 6;
    while place.files("snapshot") == first || n < 60 {
        n += 1;
        changed.revision = n;
        changed.settings.labels = BTreeMap::from([("big".to_owned(), "x".repeat(50_000))]);
        working
            .apply(FeedBatch {
                upto: n,
                head: n,
                keys: vec![(changed.id, Some(changed.clone()))],
                ..FeedBatch::default()
            })
            .await;
    }
    working.end().await;
    let (point, mut found) = place.restored().unwrap();
    assert_eq!(point.revision.n, n);
    // Of the snapshot, and the last of what came later.
    pieces.retain(|piece| !matches!(piece, Loaded::Key(_)));
    for piece in shown(&pieces) {
        let at = found.iter().position(|found| *found == piece);
        found.remove(at.unwrap_or_else(|| panic!("{piece} is missing")));
    }
    let last = found.last().unwrap();
    assert!(last.contains(&format!("revision: {n}")), "{last}");
    let others = found
        .iter()
        .any(|f| f.contains("bert") || f.contains("\"beta\""));
    assert!(!others, "what went with its workspace came back");
    let loads = found.iter().filter(|f| f.starts_with("Piece"));
    assert!(loads.count() <= 1, "the changed key alone");
}

#[tokio::test]
async fn where_it_can_not_be_written_it_is_removed_before_anything_newer_is_said() {
    let place = kept().await;
    let working = place.resumed(6);
    // The next rotation finds a file where its own is to be; nothing else of the folder is in the way.
    let journal = place.journal();
    let generation = u64::from_str_radix(journal.file_stem().unwrap().to_str().unwrap(), 16);
    let next = format!("{:016x}.journal", generation.unwrap() + 1);
    std::fs::write(journal.with_file_name(next), "in the way").unwrap();
    let mut n = 6;
    while working.keeper.is_on() {
        n += 1;
        let mut big = plain(9, n);
        big.settings.postback_url = "x".repeat(100_000);
        working
            .apply(FeedBatch {
                upto: n,
                head: n,
                keys: vec![(big.id, Some(big))],
                ..FeedBatch::default()
            })
            .await;
    }
    working.synced(u64::MAX).await;
    assert!(matches!(place.restored(), Err(Unusable::Nothing)));
    // A load begins anew.
    working.load(&directory(), 4).await.unwrap();
    working.keeper.stand(Standing::Entered).await.unwrap();
    working.apply(batch(5)).await;
    working.end().await;
    assert_eq!(place.reaches(), 5);
}

#[tokio::test]
async fn it_says_when_it_was_last_known_to_be_the_newest() {
    let place = kept().await;
    let before = place.restored().unwrap().0.time;
    let working = place.resumed(6);
    place.clock.0.fetch_add(60_000_000, Ordering::SeqCst);
    working.keeper.current();
    let noted = Time::from_micros(before.micros() + 60_000_000);
    working.end().await;
    let after = place.restored().unwrap().0;
    assert!(after.time >= noted, "{after:?}");
    assert_eq!(after.revision.n, 6);
}

#[tokio::test]
async fn another_history_takes_the_place_of_the_one_before_and_is_not_started_from_before_it_is_entered()
 {
    let mut place = Place::new();
    let working = place.work();
    working.keeper.stand(Standing::Entered).await.unwrap();
    working.load(&directory(), 50).await.unwrap();
    working.apply(batch(51)).await;
    let meta = Meta {
        epoch: EPOCH + 1,
        ..place.meta.clone()
    };
    working.load_of(&meta, &directory(), 7).await.unwrap();
    assert_eq!(working.keeper.kept(), 7);
    place.meta = meta;
    assert!(matches!(place.restored(), Err(Unusable::NotEntered)));
    working.keeper.stand(Standing::Entered).await.unwrap();
    working.apply(batch(8)).await;
    let (point, _) = place.restored().unwrap();
    let there = Revision {
        epoch: EPOCH + 1,
        n: 8,
    };
    assert_eq!(point.revision, there);
    working.end().await;
}
