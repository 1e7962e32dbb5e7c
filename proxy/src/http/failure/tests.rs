use super::*;

const ALL: [Failure; 26] = [
    Failure::OwnershipLost,
    Failure::ReplicaBehind,
    Failure::BadRequest,
    Failure::HeadTooLarge,
    Failure::ClientTimeout,
    Failure::BodyTooLarge,
    Failure::NoRoute,
    Failure::Misdirected,
    Failure::HoldTimeout,
    Failure::HoldFull,
    Failure::NoZone,
    Failure::GateUnavailable,
    Failure::NoEndpoint,
    Failure::ConnectFailed,
    Failure::ConnectTimeout,
    Failure::UpstreamClosed,
    Failure::UpstreamInvalid,
    Failure::UpstreamTimeout,
    Failure::Overloaded,
    Failure::UpgradeUnsupported,
    Failure::KeyTooLong,
    Failure::KeyUnderWay,
    Failure::KeyExecuted(201),
    Failure::KeyUnknown,
    Failure::KeyReused,
    Failure::Internal,
];

#[test]
fn every_problem_is_json_that_repeats_its_status() {
    for failure in ALL {
        let problem: serde_json::Value = serde_json::from_str(&failure.problem("r-1")).unwrap();
        assert_eq!(problem["status"], failure.status());
        assert_eq!(problem["requestId"], "r-1");
        assert!(problem["type"].as_str().unwrap().ends_with(failure.name()));
    }
}

#[test]
fn every_answer_that_means_later_says_when() {
    for failure in ALL {
        let later = failure.status() == 503 || failure == Failure::KeyUnderWay;
        assert_eq!(later, failure.retry_after_s().is_some(), "{failure:?}");
    }
}

#[test]
fn names_are_distinct() {
    let names: std::collections::BTreeSet<_> = ALL.iter().map(|failure| failure.name()).collect();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn an_id_that_could_break_out_is_left_out() {
    let problem = Failure::NoRoute.problem("x\",\"status\":200,\"y\":\"");
    let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(problem["status"], 404);
    assert!(problem.get("requestId").is_none());
    assert!(!is_plain("") && !is_plain(&"a".repeat(129)) && is_plain("0af7-651"));
}
