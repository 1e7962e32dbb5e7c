//! Providers: who makes endpoints and takes them back. Control says how many a zone should have; a
//! provider offers, refuses or makes a counter-offer, and tells which endpoints there are. Nothing
//! it tells is believed before control has reached the endpoint itself.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
};

use async_trait::async_trait;
use homing_wire::{Endpoint, UpstreamProtocol, document};

pub mod kubernetes;
pub mod probe;
pub mod process;
pub mod webhook;

pub use kubernetes::{Kubernetes, KubernetesSettings};
pub use probe::Probe;
pub use process::{ProcessSettings, Processes};
pub use webhook::{Webhook, WebhookSettings};

/// Endpoints that one provider may have for one zone.
pub const ENDPOINTS_MAX: u32 = 128;
/// Lead times that are kept, the latest.
const LEAD_TIMES_KEPT: usize = 64;
/// Bytes of a provider's own words that are kept for people.
const WORDS_BYTES_MAX: usize = 256;

/// How many endpoints a zone should have, as a provider is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The zone's name.
    pub zone: String,
    /// The service's name; `None` for every service of the zone.
    pub service: Option<String>,
    /// Endpoints that there should be.
    pub wanted: u32,
    /// Addresses of those to give back first: no request goes to them any more.
    pub release: Vec<String>,
    /// Names this wish: the same wish under the same key is carried out once.
    pub idempotency_key: String,
}

/// What a provider says to a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will be as wished.
    Offer,
    /// It will stay as it is.
    Refusal {
        /// Why.
        reason: String,
    },
    /// There will be so many endpoints instead.
    Counter {
        /// How many.
        count: u32,
        /// Why.
        reason: String,
    },
}

impl Answer {
    /// The word in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offer => "offered",
            Self::Refusal { .. } => "refused",
            Self::Counter { .. } => "counter_offer",
        }
    }
}

/// How far an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its provider says it is being made.
    Starting,
    /// Its provider says it is ready, and control has reached it.
    Ready,
    /// Its provider says it is ready, and control cannot reach it.
    Unreachable(String),
}

/// An endpoint of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How far it is.
    pub standing: Standing,
}

impl Provided {
    /// An endpoint of full weight at a checked address.
    #[must_use]
    pub fn at(address: String, protocol: UpstreamProtocol, standing: Standing) -> Self {
        Self { endpoint: Endpoint { address, weight: 100, protocol }, standing }
    }

    /// Whether requests may go to it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.standing == Standing::Ready
    }
}

/// Why a provider could not be asked. What it has offered before stays as it is then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It cannot be reached, or did not answer whole.
    #[error("{provider} cannot be reached: {problem}; look whether it runs, it is asked again")]
    Unreachable {
        /// Which.
        provider: String,
        /// Why.
        problem: String,
    },
    /// It did not answer in time.
    #[error("{provider} did not answer within {ms} ms; look why it hangs, it is asked again")]
    Timeout {
        /// Which.
        provider: String,
        /// How long it was waited for.
        ms: u64,
    },
    /// It answered with something that is no answer.
    #[error("{provider} answered what is no answer: {problem}; see its contract in OPERATING.md")]
    Nonsense {
        /// Which.
        provider: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It answered with a status that tells of a fault.
    #[error("{provider} answered with status {status}: {words}")]
    Status {
        /// Which.
        provider: String,
        /// The status.
        status: u16,
        /// What it said, cut short.
        words: String,
    },
}

/// Makes endpoints and takes them back.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Says how many endpoints there should be. Returns before they are ready.
    ///
    /// # Errors
    /// It cannot be asked; the same wish may be put again under the same key.
    async fn scale(&self, wish: &Wish) -> Result<Answer, ProviderFault>;

    /// The endpoints there are, each looked at.
    ///
    /// # Errors
    /// It cannot be asked.
    async fn list(&self, zone: &str, service: Option<&str>)
    -> Result<Vec<Provided>, ProviderFault>;

    /// Whether what it offers is listed from that moment, so that what is not listed will not come.
    fn lists_at_once(&self) -> bool {
        false
    }

    /// What happened to its endpoints since this was last asked, for people.
    fn news(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes everything back: control ends.
    async fn end(&self) {}
}

/// How long it took of late from asking for an endpoint until control could reach it.
#[derive(Clone, Debug, Default)]
pub struct LeadTimes {
    kept: VecDeque<u64>,
}

impl LeadTimes {
    /// Takes one in, milliseconds.
    pub fn measure(&mut self, ms: u64) {
        if self.kept.len() == LEAD_TIMES_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(ms);
    }

    /// The lead time that this share of those measured do not exceed; `None` before the first.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let mut sorted: Vec<u64> = self.kept.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// Whether an address may stand in a table, by the grammar of the document.
#[must_use]
pub fn is_address(address: &str) -> bool {
    let Ok(quoted) = serde_json::to_string(address) else { return false };
    let read = document::read(&format!("address: {quoted}"), |top| {
        top.required("address", "", document::address)
    });
    read.is_ok()
}

/// The endpoints without an address twice: of those that are named twice the first counts.
fn without_doubles(mut endpoints: Vec<Provided>) -> Vec<Provided> {
    let mut seen = BTreeSet::new();
    endpoints.retain(|one| seen.insert(one.endpoint.address.to_ascii_lowercase()));
    endpoints
}

/// Words of somebody else, cut short and on one line.
fn cut_short(words: &str) -> String {
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=line.len().min(WORDS_BYTES_MAX)).rev().find(|at| line.is_char_boundary(*at));
    line[..end.unwrap_or(0)].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lead_times_are_kept_as_quantiles_of_the_latest() {
        let mut times = LeadTimes::default();
        assert_eq!(times.quantile(0.5), None);
        for ms in (1..=10).rev() {
            times.measure(ms * 100);
        }
        assert_eq!((times.quantile(0.5), times.quantile(0.9)), (Some(500), Some(900)));
        assert_eq!((times.quantile(0.0), times.quantile(7.0)), (Some(100), Some(1_000)));
        for _ in 0..LEAD_TIMES_KEPT {
            times.measure(7);
        }
        assert_eq!((times.quantile(1.0), times.len()), (Some(7), LEAD_TIMES_KEPT));
    }

    #[test]
    fn an_address_is_what_a_document_would_take() {
        for sound in ["127.0.0.1:80", "[::1]:9000", "app-1.example:8080"] {
            assert!(is_address(sound), "{sound}");
        }
        for odd in ["", "127.0.0.1", "http://a:80", "a b:80", "a:0", "a:80\nb: c", "\"", "a:99999"]
        {
            assert!(!is_address(odd), "{odd}");
        }
    }

    #[test]
    fn words_are_cut_between_letters() {
        assert_eq!(cut_short(" no\r\nroom "), "no  room");
        let long = "ä".repeat(WORDS_BYTES_MAX);
        assert_eq!(cut_short(&format!("x{long}")).len(), WORDS_BYTES_MAX - 1);
    }
}
