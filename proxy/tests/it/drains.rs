//! Emptying a zone: its sessions go elsewhere with their state, its buckets follow, and it can be
//! opened again.

use serde_json::{Value, json};

use crate::whole::Whole;

const ZONES: [&str; 3] = ["lisbon", "oslo", "tokyo"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_zone_is_empty_and_no_state_is_lost() {
    let whole = Whole::start(&ZONES).await;
    let users: Vec<String> = (0..60).map(|n| format!("user-{n}")).collect();
    for user in &users {
        assert_eq!(whole.write(user, user).await.status, 200);
    }
    let sessions = async |zone: &str| {
        let placement = whole.look("/placement").await;
        let zones = placement["zones"].as_array().unwrap().clone();
        zones.into_iter().find(|line| line["name"] == zone).unwrap()["sessions"].as_u64().unwrap()
    };
    let before = sessions("lisbon").await;
    assert!(before > 5, "{before}");
    let told = whole.order("/zones/lisbon/drain", Value::Null).await;
    assert_eq!(told.status, 202, "{told:?}");
    whole
        .until("the drain", async || {
            whole.look("/zones/lisbon/drain").await["drain"]["done"] == true
        })
        .await;
    let progress = whole.look("/zones/lisbon/drain").await;
    assert_eq!((&progress["sessions"], &progress["buckets"]), (&json!(0), &json!(0)));
    assert_eq!(progress["drain"]["moved"], before);
    for user in &users {
        let told = whole.read(user).await;
        assert_ne!(told["zone"], "lisbon");
        assert_eq!(told["lines"], json!([user]));
    }
    // Both others took their part.
    assert!(sessions("oslo").await > 10 && sessions("tokyo").await > 10);
    let strangers: Vec<String> = (0..20).map(|n| format!("stranger-{n}")).collect();
    for user in &strangers {
        assert_ne!(whole.read(user).await["zone"], "lisbon");
    }

    assert_eq!(whole.order("/zones/lisbon/open", Value::Null).await.status, 200);
    let placement = whole.look("/placement").await;
    assert_eq!(placement["zones"][0]["intake"], "open");
    assert!(placement["zones"][0]["buckets"].as_u64().unwrap() > 20_000, "{placement}");
    for user in users.iter().chain(&strangers) {
        assert_ne!(whole.read(user).await["zone"], "lisbon", "nobody is moved by opening");
    }
    let told = whole.order("/zones/atlantis/drain", Value::Null).await;
    assert_eq!(told.status.as_u16(), 404);
}
