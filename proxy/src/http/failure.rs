//! Every way a request can fail at the edge, as one closed set: its status, its problem document
//! and its `Proxy-Status` come from the variant, so no two places tell a failure differently.

use std::fmt::Write;

#[cfg(test)]
mod tests;

/// Why a request was answered by Homing and not by the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The request's head cannot be understood.
    BadRequest,
    /// The head is over the bound in bytes or fields.
    HeadTooLarge,
    /// The client took too long to send its request.
    ClientTimeout,
    /// The body is over the service's bound.
    BodyTooLarge,
    /// No service takes this host and path.
    NoRoute,
    /// The authority is not served here.
    Misdirected,
    /// The session is being handed over and the wait was over its bound.
    HoldTimeout,
    /// Too many requests already wait.
    HoldFull,
    /// No zone can take the session now.
    NoZone,
    /// The gate holds no lease, or as many sessions as it may.
    GateUnavailable,
    /// The gate lost its lease, or the session, while the request was executed: what came of it
    /// must not be taken for done.
    OwnershipLost,
    /// The request was executed, and the replica that its session's tier asks for does not have it
    /// in time: it must not be taken for done.
    ReplicaBehind,
    /// The zone has no healthy endpoint.
    NoEndpoint,
    /// No endpoint of the zone could be connected.
    ConnectFailed,
    /// Connecting took longer than its bound.
    ConnectTimeout,
    /// The endpoint broke the connection before it had answered.
    UpstreamClosed,
    /// The endpoint's answer is not HTTP.
    UpstreamInvalid,
    /// The endpoint did not answer in time.
    UpstreamTimeout,
    /// The process is over a bound of its own.
    Overloaded,
    /// The protocol asked for is not spoken on this route.
    UpgradeUnsupported,
    /// An `Idempotency-Key` is too long.
    KeyTooLong,
    /// A request of the same `Idempotency-Key` is being executed.
    KeyUnderWay,
    /// The request of this `Idempotency-Key` was executed, and answered with this status.
    KeyExecuted(u16),
    /// The request of this `Idempotency-Key` was sent to the app and never answered.
    KeyUnknown,
    /// The `Idempotency-Key` was used for another request.
    KeyReused,
    /// A fault of Homing's own.
    Internal,
}

/// What a failure is told as.
struct Told {
    status: u16,
    /// Last part of the problem's `type` and the metric label.
    name: &'static str,
    title: &'static str,
    /// The error type of RFC 9209.
    proxy_error: &'static str,
    /// Seconds for `Retry-After`, on answers that say "later".
    retry_after_s: Option<u32>,
}

impl Failure {
    /// The status sent.
    #[must_use]
    pub fn status(self) -> u16 {
        self.told().status
    }

    /// A stable name, for labels and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.told().name
    }

    /// The `Proxy-Status` member's error token (RFC 9209).
    #[must_use]
    pub fn proxy_error(self) -> &'static str {
        self.told().proxy_error
    }

    /// Seconds after which to try again, where that can help.
    #[must_use]
    pub fn retry_after_s(self) -> Option<u32> {
        self.told().retry_after_s
    }

    /// Whether the zone's endpoints are at fault, for passive health and zone samples.
    #[must_use]
    pub fn is_upstream(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::UpstreamClosed
                | Self::UpstreamInvalid
                | Self::UpstreamTimeout
        )
    }

    /// The problem document (RFC 9457). `request_id` must be plain visible ASCII.
    #[must_use]
    pub fn problem(self, request_id: &str) -> String {
        let told = self.told();
        let mut body = String::with_capacity(160);
        // Every part is a constant of this file or checked to be plain: nothing needs escaping.
        let _ = write!(
            body,
            "{{\"type\":\"https://homing.dev/problems/{}\",\"title\":\"{}\",\"status\":{}",
            told.name, told.title, told.status
        );
        if let Self::KeyExecuted(status) = self {
            let _ = write!(body, ",\"executedStatus\":{status}");
        }
        if is_plain(request_id) {
            let _ = write!(body, ",\"requestId\":\"{request_id}\"");
        }
        body.push('}');
        body
    }

    /// The `Proxy-Status` value.
    #[must_use]
    pub fn proxy_status(self) -> String {
        format!("homing; error={}", self.proxy_error())
    }

    #[rustfmt::skip]
    fn told(self) -> Told {
        let told = |status, name, title, proxy_error, retry_after_s| {
            Told { status, name, title, proxy_error, retry_after_s }
        };
        match self {
            Self::BadRequest => told(400, "bad-request",
                "The request cannot be understood", "http_request_error", None),
            Self::HeadTooLarge => told(431, "head-too-large",
                "The request's header fields are too large", "http_request_error", None),
            Self::ClientTimeout => told(408, "client-timeout",
                "The request took too long to arrive", "http_request_error", None),
            Self::BodyTooLarge => told(413, "body-too-large",
                "The request body is too large", "http_request_denied", None),
            Self::NoRoute => told(404, "no-route",
                "No service takes this host and path", "destination_not_found", None),
            Self::Misdirected => told(421, "misdirected",
                "This authority is not served here", "destination_not_found", None),
            Self::HoldTimeout => told(503, "hold-timeout",
                "The session is moving and took longer than a request may wait",
                "destination_unavailable", Some(1)),
            Self::HoldFull => told(503, "hold-full",
                "The session is moving and too many requests wait for it",
                "destination_unavailable", Some(1)),
            Self::NoZone => told(503, "no-zone",
                "No zone can take this session now", "destination_unavailable", Some(5)),
            Self::GateUnavailable => told(503, "gate-unavailable",
                "The session's zone cannot take requests now", "destination_unavailable", Some(1)),
            Self::OwnershipLost => told(502, "ownership-lost",
                "The gate lost the session while the request was executed; it may or may not \
                 have been", "proxy_internal_response", None),
            Self::ReplicaBehind => told(502, "replica-behind",
                "The request was executed, and its session's replica does not have it yet",
                "proxy_internal_response", None),
            Self::NoEndpoint => told(503, "no-endpoint",
                "The session's zone has no healthy endpoint", "destination_unavailable", Some(5)),
            Self::ConnectFailed => told(502, "connect-failed",
                "No endpoint of the zone could be reached", "connection_refused", None),
            Self::ConnectTimeout => told(504, "connect-timeout",
                "The endpoint could not be reached in time", "connection_timeout", None),
            Self::UpstreamClosed => told(502, "upstream-closed",
                "The endpoint broke off before it had answered", "connection_terminated", None),
            Self::UpstreamInvalid => told(502, "upstream-invalid",
                "The endpoint's answer is not valid HTTP", "http_protocol_error", None),
            Self::UpstreamTimeout => told(504, "upstream-timeout",
                "The endpoint did not answer in time", "http_response_timeout", None),
            Self::Overloaded => told(503, "overloaded",
                "The ingress is at its limit", "proxy_internal_response", Some(1)),
            Self::UpgradeUnsupported => told(501, "upgrade-unsupported",
                "This protocol upgrade is not supported here", "http_upgrade_failed", None),
            Self::KeyTooLong => told(400, "idempotency-key-too-long",
                "The Idempotency-Key is over 255 bytes", "http_request_error", None),
            Self::KeyUnderWay => told(409, "request-under-way",
                "A request of this Idempotency-Key is being executed", "http_request_denied",
                Some(1)),
            Self::KeyExecuted(_) => told(409, "request-executed",
                "The request of this Idempotency-Key was executed; executedStatus is what it was \
                 answered with", "http_request_denied", None),
            Self::KeyUnknown => told(409, "request-outcome-unknown",
                "The request of this Idempotency-Key was sent to the app, which did not answer",
                "http_request_denied", None),
            Self::KeyReused => told(422, "idempotency-key-reused",
                "The Idempotency-Key was used for another method or target",
                "http_request_denied", None),
            Self::Internal => told(500, "internal",
                "The ingress failed", "proxy_internal_error", None),
        }
    }
}

/// Whether a client-given id may be repeated in headers and documents as it is: letters, digits
/// and a few marks, not over 128 bytes.
#[must_use]
pub fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(plain)
}
