//! Nexosis as it is set up, and a customer's account there.

use claviger::grpc::proto::v1::hygiene_finding::Kind;
use claviger::grpc::proto::v1::{self, Slot};

use crate::api::stage::{duration, ok, selling};
use crate::harness::server::Client;
use crate::harness::{Response, demands};
use crate::seeds::walk::{HERE, Platform, WORKSPACE, is_refused};

pub(super) const SALES: &str = "/api/data/salesdata";
/// How old a key may become here.
pub(super) const AGE: u64 = 90 * 86_400;

/// The operator's platform and the account of a customer.
pub(super) struct Nexosis {
    pub(super) platform: Platform,
    pub(super) account: Client,
    /// The account's token, for the command line.
    pub(super) token: String,
}

/// Two slots, a key with every subscription, the header `api-key`, old keys named after 90 days.
pub(super) async fn start() -> Nexosis {
    let demanded = [("workspace", WORKSPACE), ("scopes", "data:write")];
    let platform = Platform::start(vec![demands("/api/data", &demanded)]).await;
    platform.declare(&["data:write"]).await;
    let rights = ["keys:read", "keys:write", "insights:read"].map(|r| format!("claviger:{r}"));
    let token = platform
        .caller(&rights.each_ref().map(String::as_str))
        .await;
    let header = v1::credential_location::Location::Header("api-key".to_owned());
    let settings = v1::WorkspaceSettings {
        slots: v1::SlotPolicy::Two.into(),
        locations: vec![v1::CredentialLocation {
            location: Some(header),
        }],
        provisioning: Some(v1::KeyProvisioning {
            scopes: vec!["data:write".to_owned()],
        }),
        rotation_age: duration(AGE),
        leak_policy: v1::LeakPolicy::Regenerate.into(),
        ..Default::default()
    };
    platform.set(settings, &["settings"]).await;
    Nexosis {
        account: platform.stage.server.client_with(&token),
        platform,
        token,
    }
}

impl Nexosis {
    /// A customer subscribes; what the account page shows.
    pub(super) async fn subscribe(&self, id: &str) -> (v1::Key, [String; 2]) {
        let request = selling(WORKSPACE, id);
        let directory = || self.platform.admin().directory();
        let answer = ok(directory().create_subscription(request).await);
        let token = |slot: Slot| {
            let issued = answer.tokens.iter().find(|t| t.slot() == slot).unwrap();
            self.platform.remember(&issued.token);
            issued.token.clone()
        };
        let tokens = [token(Slot::Primary), token(Slot::Secondary)];
        let key = answer.key.unwrap();
        let acknowledge = v1::AcknowledgeSecretRequest {
            key_id: key.id.clone(),
            ..Default::default()
        };
        let keys = || self.platform.admin().keys();
        ok(keys().acknowledge_secret(acknowledge).await);
        (key, tokens)
    }

    /// The request of the document.
    pub(super) async fn put(&self, token: &str) -> Response {
        let headers = [
            ("Content-Type", "application/json"),
            ("accept", "application/json"),
            ("api-key", token),
        ];
        self.platform.send("PUT", SALES, &headers, "{}").await
    }

    pub(super) async fn passes(&self, token: &str) {
        let response = self.put(token).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }

    pub(super) async fn unauthorized(&self, token: &str) {
        is_refused(&self.put(token).await, 401, "invalid-key");
    }

    /// The same while applications run: what reaches the service meanwhile is theirs.
    pub(super) async fn unauthorized_amid_others(&self, token: &str) {
        let mut connection = self.platform.connect(HERE).await;
        let response = connection.send("PUT", SALES, &[("api-key", token)], "{}");
        is_refused(&response, 401, "invalid-key");
    }

    /// Clicks "Regenerate" beside a slot; the new token.
    pub(super) async fn regenerate(&self, key: &v1::Key, slot: Slot) -> String {
        let request = regenerating(key, slot);
        let answer = ok(self.account.keys().regenerate_secret(request).await);
        let token = answer.tokens[0].token.clone();
        self.platform.remember(&token);
        token
    }

    pub(super) async fn findings(&self, key: &v1::Key) -> Vec<v1::HygieneFinding> {
        let request = v1::GetKeyHygieneRequest {
            page_size: 1_000,
            ..Default::default()
        };
        let answer = ok(self.account.insights().get_key_hygiene(request).await);
        let of_key = |needs: &v1::KeyHygiene| needs.key.as_ref().is_some_and(|k| k.id == key.id);
        let needs = answer.keys.into_iter().find(of_key);
        needs.map(|needs| needs.findings).unwrap_or_default()
    }

    /// The last step of a rotation that is under way: which slot, and whether it cuts nobody off.
    pub(super) async fn last_step(&self, key: &v1::Key) -> Option<(Slot, bool)> {
        let found = self.findings(key).await;
        let unfinished = found.iter().find(|f| f.kind() == Kind::RotationUnfinished);
        unfinished.map(|f| (f.slot(), f.safe))
    }

    /// The slots that are old.
    pub(super) async fn due(&self, key: &v1::Key) -> Vec<Slot> {
        let found = self.findings(key).await;
        let due = found.iter().filter(|f| f.kind() == Kind::RotationDue);
        due.map(v1::HygieneFinding::slot).collect()
    }
}

pub(super) fn regenerating(key: &v1::Key, slot: Slot) -> v1::RegenerateSecretRequest {
    v1::RegenerateSecretRequest {
        key_id: key.id.clone(),
        slot: slot.into(),
        ..Default::default()
    }
}
