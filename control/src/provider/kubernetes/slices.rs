//! EndpointSlices (discovery.k8s.io/v1): the few fields of them that tell which pods serve where.

use homing_wire::UpstreamProtocol;
use serde::Deserialize;

use crate::provider::{Provided, Standing, is_address};

/// A list of slices, or a part of one.
#[derive(Deserialize)]
pub(super) struct SliceList {
    pub(super) metadata: ListMeta,
    #[serde(default)]
    pub(super) items: Vec<Slice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    #[serde(default)]
    pub(super) resource_version: String,
    /// Where the list goes on.
    #[serde(rename = "continue", default)]
    pub(super) next: Option<String>,
}

/// One slice.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Slice {
    pub(super) metadata: Meta,
    #[serde(default)]
    address_type: String,
    /// `null` where it has none.
    endpoints: Option<Vec<SliceEndpoint>>,
    ports: Option<Vec<SlicePort>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) resource_version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceEndpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    target_ref: Option<Target>,
}

/// What is not told counts as the API says: ready, and not on its way out.
#[derive(Clone, Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct SlicePort {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

/// Which port of a Service is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Number(u16),
    Name(String),
}

impl Port {
    pub(super) fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }

    fn is(&self, port: &SlicePort) -> bool {
        match self {
            Self::Number(number) => port.port == Some(*number),
            Self::Name(name) => port.name.as_deref() == Some(name),
        }
    }
}

/// A pod's endpoint.
#[derive(Clone, Debug)]
pub(super) struct PodEndpoint {
    pub(super) provided: Provided,
    pub(super) pod: Option<String>,
}

impl Slice {
    /// The endpoints of a slice at a port; those that are ending are none any more.
    pub(super) fn endpoints(
        &self,
        wanted: Option<&Port>,
        protocol: UpstreamProtocol,
    ) -> Vec<PodEndpoint> {
        let ports = self.ports.iter().flatten();
        let mut tcp = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        let port = tcp.find(|port| wanted.is_none_or(|wanted| wanted.is(port)));
        let (Some(port), "IPv4" | "IPv6") =
            (port.and_then(|port| port.port), self.address_type.as_str())
        else {
            return Vec::new();
        };
        let pod = |endpoint: &SliceEndpoint| {
            let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
            Some(target.name.clone()).filter(|name| is_pod(name))
        };
        let staying = |endpoint: &&SliceEndpoint| endpoint.conditions.terminating != Some(true);
        let endpoints = self.endpoints.iter().flatten().filter(staying);
        let at = |endpoint: &SliceEndpoint| {
            // Addresses of one endpoint are the same pod: the first is enough (so says the API).
            let ip: std::net::IpAddr = endpoint.addresses.first()?.parse().ok()?;
            let address = std::net::SocketAddr::new(ip, port).to_string();
            let standing = match endpoint.conditions.ready {
                Some(false) => Standing::Starting,
                _ => Standing::Ready,
            };
            let is_sound = is_address(&address);
            is_sound.then(|| PodEndpoint {
                provided: Provided::at(address, protocol, standing),
                pod: pod(endpoint),
            })
        };
        endpoints.filter_map(at).collect()
    }
}

/// Whether a name may stand in a path.
fn is_pod(name: &str) -> bool {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !name.is_empty() && name.len() <= 253 && name.bytes().all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(text: &str) -> Slice {
        serde_json::from_str(text).unwrap()
    }

    const RECORDED: &str = r#"{"metadata":{"name":"app-abc","generateName":"app-",
        "resourceVersion":"91"},"addressType":"IPv4","endpoints":[
        {"addresses":["10.1.0.7"],"conditions":{"ready":true,"serving":true,"terminating":false},
         "targetRef":{"kind":"Pod","name":"app-7","namespace":"shop","uid":"x"},"nodeName":"n1"},
        {"addresses":["10.1.0.8"],"conditions":{"ready":false,"serving":false,"terminating":false}},
        {"addresses":["10.1.0.9"],"conditions":{"ready":false,"serving":true,"terminating":true}},
        {"addresses":["10.1.0.10"],"conditions":{}},{"addresses":["shop.example"]}],
        "ports":[{"name":"metrics","port":9100,"protocol":"TCP"},
        {"name":"dns","port":53,"protocol":"UDP"},{"name":"http","port":8080,"protocol":"TCP"}]}"#;

    #[test]
    fn what_a_cluster_recorded_is_read() {
        let of = |port: Option<&str>| {
            let port = port.map(Port::read);
            slice(RECORDED).endpoints(port.as_ref(), UpstreamProtocol::H1)
        };
        let told: Vec<(String, bool)> = of(Some("http"))
            .into_iter()
            .map(|one| (one.provided.endpoint.address.clone(), one.provided.is_ready()))
            .collect();
        let due = [("10.1.0.7:8080", true), ("10.1.0.8:8080", false), ("10.1.0.10:8080", true)];
        assert_eq!(told, due.map(|(address, ready)| (address.to_owned(), ready)));
        assert_eq!(of(Some("http"))[0].pod.as_deref(), Some("app-7"));
        assert_eq!(of(None)[0].provided.endpoint.address, "10.1.0.7:9100", "the first that is TCP");
        assert_eq!(of(Some("9100")).len(), 3);
        assert!(of(Some("dns")).is_empty() && of(Some("8081")).is_empty());
    }

    #[test]
    fn odd_slices_have_no_endpoints() {
        let six = RECORDED.replace("IPv4", "IPv6").replace("10.1.0.7", "fd00::7");
        let port = Port::read("http");
        let told = slice(&six).endpoints(Some(&port), UpstreamProtocol::H1);
        assert_eq!(told[0].provided.endpoint.address, "[fd00::7]:8080");
        let name = slice(&RECORDED.replace("IPv4", "FQDN"));
        assert!(name.endpoints(None, UpstreamProtocol::H1).is_empty());
        let bare = slice(r#"{"metadata":{},"addressType":"IPv4","endpoints":null,"ports":null}"#);
        assert!(bare.endpoints(None, UpstreamProtocol::H1).is_empty());
        assert!(!is_pod("../secrets") && !is_pod("") && is_pod("app-5f.x"));
    }
}
