//! The `kubernetes` section of a scaled zone.

use std::path::Path;

use homing_wire::{
    UpstreamProtocol,
    document::{
        self,
        read::{MapReader, Reader},
        tree::Value,
    },
};

use super::{super::file, PROTOCOLS, url};
use crate::provider::{
    KubernetesSettings, Probe,
    kubernetes::{ClientSettings, Kind},
};

const KINDS: [(&str, Kind); 3] = [
    ("deployment", Kind::Deployment),
    ("statefulset", Kind::StatefulSet),
    ("replicaset", Kind::ReplicaSet),
];

pub(super) fn settings(
    map: &mut MapReader<'_>,
    folder: &Path,
    ready: &Probe,
) -> Option<KubernetesSettings> {
    let plain = map.or("allow_plaintext", false, Reader::boolean);
    let api = map.optional("api", |r| api(r, plain));
    let token_file = map.optional("token_file", |r| file(r, folder));
    let ca_file = map.optional("ca_file", |r| file(r, folder));
    let cert = map.optional("client_cert", |r| file(r, folder));
    let key = map.optional("client_key", |r| file(r, folder));
    if map.find("client_cert").is_some() != map.find("client_key").is_some() {
        let problem = "has half of a client's certificate";
        map.itself().fault(problem, "give both `client_cert` and `client_key`, or neither");
    }
    let timeout_ms = map.or("timeout", 5_000, |r| r.millis(100..=60_000));
    let namespace = map.optional("namespace", document::name);
    let kind = map.or("kind", Kind::Deployment, |r| r.word(&KINDS));
    let lease = map.optional("lease", name);
    let name = map.required("name", "write the workload's: `name: notebook`", name);
    let remedy = "write the Service whose endpoints are taken: `service: notebook`";
    let service = map.required("service", remedy, document::name);
    let port = map.optional("port", port);
    let protocol = map.or("protocol", UpstreamProtocol::H1, |r| r.word(&PROTOCOLS));
    Some(KubernetesSettings {
        client: ClientSettings { api, token_file, ca_file, client_cert: cert.zip(key), timeout_ms },
        namespace,
        kind,
        name: name?,
        service: service?,
        port,
        protocol,
        lease,
        ready: ready.clone(),
    })
}

/// The address of an API server: a URL without a path.
fn api(reader: &Reader<'_>, plain: bool) -> Option<http::Uri> {
    let api = url(reader, plain)?;
    if !matches!(api.path(), "" | "/") || api.query().is_some() {
        reader.fault("has a path", "write the server alone: https://10.0.0.1:6443");
        return None;
    }
    Some(api)
}

/// A DNS subdomain (RFC 1123), as names of workloads are.
fn name(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let part = |part: &str| {
        let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty()
            && part.bytes().all(sound)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(part) {
        reader.fault("is not a name of Kubernetes", "use small letters, digits, `-` and `.`");
        return None;
    }
    Some(text.to_owned())
}

/// A port's name or number.
fn port(reader: &Reader<'_>) -> Option<String> {
    if matches!(reader.node().value, Value::Int(_)) {
        return reader.whole(1..=65_535).map(|port| port.to_string());
    }
    let text = reader.text()?;
    let is_name = text.len() <= 15
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().any(|b| b.is_ascii_lowercase());
    if !is_name && !text.parse::<u16>().is_ok_and(|port| port > 0) {
        reader.fault("is neither a port's name nor its number", "write `port: http` or `8080`");
        return None;
    }
    Some(text.to_owned())
}
