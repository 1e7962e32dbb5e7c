//! What of the edge's work a reload may change, behind one pointer so that a request sees all of
//! the old or all of the new.

use std::collections::HashMap;

use subtle::ConstantTimeEq;

use crate::{
    config::{JwtKey, Secrets, Settings},
    http::{
        exchange::Exchange,
        forwarded::TrustedPeers,
        key::{KeyReader, TokenKey},
    },
};

/// What a reload may change.
#[derive(Clone, Debug)]
pub struct EdgeRules {
    /// How session keys are read and cookies signed.
    pub keys: KeyReader,
    /// Peers whose forwarding and place headers are believed.
    pub trusted: TrustedPeers,
    /// Whether every response names the zone that answered.
    pub expose_zone: bool,
    /// What `homing-why` must carry for a response to explain itself. Without a token, clients on
    /// this machine may ask, as with the admin listener.
    pub admin_token: Option<String>,
    /// Bytes of a request head.
    pub head_bytes_max: usize,
}

impl EdgeRules {
    /// The rules that the process's settings state.
    #[must_use]
    pub fn new(settings: &Settings, secrets: &Secrets) -> Self {
        let token = |key: &JwtKey| {
            let (issuer, audience) = (key.issuer.as_deref(), key.audience.as_deref());
            let token = TokenKey::new(key.algorithm, key.key.clone(), issuer, audience);
            (key.id.clone(), token)
        };
        Self {
            keys: KeyReader {
                secret: secrets.session_key.clone(),
                cookies: secrets.cookies.clone(),
                tokens: settings.jwt_keys.iter().map(token).collect::<HashMap<_, _>>(),
            },
            trusted: settings.trusted.clone(),
            expose_zone: settings.expose_zone,
            admin_token: settings.admin.token.clone(),
            head_bytes_max: settings.limits.head_bytes as usize,
        }
    }

    pub(super) fn may_ask_why(&self, asked: &[u8], exchange: &Exchange) -> bool {
        match &self.admin_token {
            Some(token) => bool::from(token.as_bytes().ct_eq(asked)),
            None => exchange.peer.is_loopback() && asked == b"1",
        }
    }
}
