//! What it does: orders under the rule, lists read on, counts, and what is refused.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use voceguida::{
    canteen::{Choice, Reason},
    desk::{access::Scope, behalf::OfficeOrder},
    store::{NewOperation, Verdict},
    web::api,
};

use crate::{
    client::{THURSDAY, admin, everything, token},
    support::{MONDAY_EVENING, at, day, each_database},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_done_once_and_the_rule_explains_what_it_refuses() {
    each_database(async |school| {
        let (desk, client) = everything(&school).await;
        let child = school.children[0].0;
        let cancel = json!({ "operation": "cancel", "day": THURSDAY });
        let done = client.order(child, "chiave-0001", &cancel).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.body);
        assert_eq!((&done.body["accepted"], &done.body["day"], &done.body["channel"]), (&json!(true), &json!(THURSDAY), &json!("web")));
        // The same again is the same receipt; another order under the key is refused and does nothing.
        assert_eq!(client.order(child, "chiave-0001", &cancel).await.body, done.body);
        for (other, order) in [
            (child, json!({ "operation": "undo", "day": THURSDAY })),
            (child, json!({ "operation": "cancel", "day": "2026-10-16" })),
            (school.children[1].0, cancel.clone()),
        ] {
            let answer = client.order(other, "chiave-0001", &order).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "idempotency_key_reused"), "{order}");
        }
        assert_eq!(client.get("/operations").await.body["items"].as_array().unwrap().len(), 1);
        // Another token's keys are its own.
        let (_, second) = token(&desk, school.ente, &[Scope::Operate]).await;
        let again = client.with(Some(&second)).order(child, "chiave-0001", &cancel).await;
        assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "already_cancelled"));
        assert_eq!(again.body["detail"], "Rifiutata: il pasto è già disdetto per giovedì 15 ottobre 2026.");

        let refused = client.order(child, "chiave-0002", &json!({ "operation": "cancel", "day": "2026-10-13" })).await;
        insta::allow_duplicates! {
            let mut told = refused.body.clone();
            told["receipt"] = json!("…");
            insta::assert_snapshot!("api_refused", serde_json::to_string_pretty(&told).unwrap());
        }
        assert_eq!(client.order(child, "chiave-0002", &json!({ "operation": "cancel", "day": "2026-10-13" })).await.body, refused.body);
        for (key, operation, day, code) in [
            ("chiave-0003", "white", "2026-10-12", "too_late"),
            ("chiave-0004", "undo", "2026-10-16", "nothing_to_undo"),
            ("chiave-0005", "white", "2026-10-17", "not_a_service_day"),
        ] {
            let answer = client.order(child, key, &json!({ "operation": operation, "day": day })).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, code), "{}", answer.body);
        }

        // Every channel sees what was done, and who did it.
        let states = client.get(&format!("/children/{child}/days?from=2026-10-12&days=4")).await;
        let states: Vec<_> = states.body["days"].as_array().unwrap().iter().map(|d| d["state"].as_str().unwrap().to_owned()).collect();
        assert_eq!(states, ["served", "no_service", "no_service", "cancelled"]);
        let seen = desk.view_child(school.children[0], day(THURSDAY), day(THURSDAY)).await.unwrap();
        assert_eq!((seen.operations[0].actor.as_str(), seen.operations[0].channel.as_str()), ("chiave centro cottura", "web"));
        let receipt = client.get(&format!("/receipts/{}", refused.body["receipt"].as_str().unwrap())).await;
        assert_eq!(receipt.body["operation"]["reason"], "not_a_service_day");
        assert_eq!(receipt.body["conclusion"], refused.body["detail"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_of_one_key_at_once_do_one_thing() {
    each_database(async |school| {
        let (_, client) = everything(&school).await;
        for round in 0..6 {
            let (key, child) = (format!("chiave-{round:04}"), school.children[0].0);
            let day = if round % 2 == 0 { "cancel" } else { "undo" };
            let order = json!({ "operation": day, "day": THURSDAY });
            let tries = (0..4).map(|_| {
                let (client, key, order) = (client.clone(), key.clone(), order.clone());
                tokio::spawn(async move { client.order(child, &key, &order).await })
            });
            let mut receipts = Vec::new();
            for one in tries.collect::<Vec<_>>() {
                let answer = one.await.unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                receipts.push(answer.body["receipt"].as_str().unwrap().to_owned());
            }
            receipts.dedup();
            assert_eq!(receipts.len(), 1, "round {round}");
        }
        assert_eq!(client.get("/operations").await.body["items"].as_array().unwrap().len(), 6);
        // The same key for two children at once: one is done, the other one is told.
        let order = json!({ "operation": "white", "day": "2026-10-16" });
        let (one, other) = tokio::join!(
            client.order(school.children[0].0, "chiave-doppia", &order),
            client.order(school.children[1].0, "chiave-doppia", &order)
        );
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.body, other.body);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_on_from_a_cursor_and_nothing_is_missed() {
    each_database(async |school| {
        let (desk, client) = everything(&school).await;
        let actor = admin(school.ente);
        for n in 0..7u32 {
            let choice = if n % 2 == 0 { Choice::Cancel } else { Choice::Undo };
            let order = OfficeOrder { child: school.children[0], choice, day: day(THURSDAY), until: None, note: None };
            desk.operate_for(&actor, &order, &format!("k{n}")).await.unwrap();
        }
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = client.get(&format!("/operations?after={after}&limit=3")).await.body;
            seen.extend(page["items"].as_array().unwrap().iter().map(|o| o["id"].as_i64().unwrap()));
            after = page["cursor"].as_i64().unwrap();
            if page["more"] == json!(false) {
                break;
            }
        }
        assert_eq!(seen.len(), 7);
        assert!(seen.is_sorted());
        let page = client.get(&format!("/operations?after={after}")).await.body;
        assert_eq!(page, json!({ "items": [], "cursor": after, "more": false }));
        let children = client.get("/children?limit=1").await.body;
        assert_eq!((children["items"].as_array().unwrap().len(), &children["more"]), (1, &json!(true)));
        let rest = client.get(&format!("/children?after={}", children["cursor"])).await.body;
        assert_eq!((rest["items"][0]["id"].as_i64().unwrap(), &rest["more"]), (school.children[1].0, &json!(false)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_whose_number_was_drawn_before_but_committed_later_is_not_missed() {
    each_database(async |school| {
        // The embedded database has one writer: there is no later number before the earlier one is committed.
        if school.url.starts_with("sqlite:") {
            return;
        }
        let (desk, client) = everything(&school).await;
        let mut slow = school.db.write().await.unwrap();
        slow.hold_day_open(school.ente.0).await.unwrap();
        let new = NewOperation {
            ente: school.ente,
            child: school.children[0],
            channel: "phone",
            actor: "3471234567",
            call_id: Some("call"),
            key: "call-1",
            at: at(MONDAY_EVENING),
            choice: Choice::Undo,
            until: None,
            note: None,
            late: false,
        };
        let verdict = Verdict::Refused(Reason::NothingToUndo, Some(day(THURSDAY)));
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        let (first, _) = slow.add_operation(&new, verdict, &mut rng).await.unwrap();
        let quick = client.order(school.children[1].0, "chiave-0001", &json!({ "operation": "cancel", "day": THURSDAY })).await;
        let second = quick.body["id"].as_i64().unwrap();
        assert!(first < second);
        let reader = client.clone();
        let reading = tokio::spawn(async move { reader.get("/operations").await });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        slow.commit().await.unwrap();
        let mut page = reading.await.unwrap();
        // Where it has waited too long it says so; it never gives a list with a hole.
        while page.status == StatusCode::SERVICE_UNAVAILABLE {
            page = client.get("/operations").await;
        }
        let page = page.body;
        let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|o| o["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, [first, second]);
        drop(desk);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_provisional_then_final_and_cheap_to_ask_again() {
    each_database(async |school| {
        let (desk, client) = everything(&school).await;
        client.order(school.children[0].0, "chiave-0001", &json!({ "operation": "cancel", "day": THURSDAY })).await;
        let path = format!("/counts/{THURSDAY}");
        let before = client.get(&path).await;
        assert_eq!((&before.body["is_final"], &before.body["meals"]), (&json!(false), &json!(1)));
        assert_eq!(before.header("cache-control"), "private, no-cache");
        let tag = before.header("etag").to_owned();
        let asked = |tag: &str| Request::get(format!("/api/v1{path}")).header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
        let again = client.send(asked(&tag)).await;
        assert_eq!((again.status, &again.body, again.header("etag")), (StatusCode::NOT_MODIFIED, &Value::Null, tag.as_str()));
        client.order(school.children[1].0, "chiave-0002", &json!({ "operation": "white", "day": THURSDAY })).await;
        let changed = client.send(asked(&tag)).await;
        assert_eq!(changed.status, StatusCode::OK);
        let class = &changed.body["schools"][0]["classes"][0];
        assert_eq!((&class["white"], &class["cancelled"], &class["diets"]), (&json!(1), &json!(1), &json!([])));

        let noon = school.desk_at("2026-10-15T12:00:00+02:00");
        noon.close_days(school.ente, None, |_, _| {}).await.unwrap();
        assert_eq!(client.get(&path).await.body["is_final"], json!(true));
        let correct = OfficeOrder {
            child: school.children[1],
            choice: Choice::Cancel,
            day: day(THURSDAY),
            until: None,
            note: Some("Ada Prova1 era malata"),
        };
        noon.operate_for(&admin(school.ente), &correct, "k").await.unwrap();
        let after = client.get(&path).await;
        assert_eq!(after.body["schools"][0]["changes"][0]["meals"], -1);
        assert_eq!(after.body["meals"], 1, "the count itself stays");
        assert!(!after.body.to_string().contains("malata"), "the office's reason stays there");
        drop(desk);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calendar_schools_and_classes_fit_together() {
    each_database(async |school| {
        let (_, client) = everything(&school).await;
        let schools = client.get("/schools").await.body;
        assert_eq!(schools["schools"][0]["code"], "PRIM");
        let classes = client.get(&format!("/classes?school_year={}", schools["school_years"][0]["id"])).await.body;
        assert_eq!((&classes["items"][0]["name"], &classes["items"][0]["school"]), (&json!("1A"), &schools["schools"][0]["id"]));
        let calendar = client.get("/calendar").await.body;
        assert_eq!(calendar["terms"][0]["first_day"], "2026-09-14");
        assert_eq!(calendar["returns"][0]["weekdays"], json!(["mon", "tue", "wed", "thu", "fri"]));
        assert_eq!(calendar["closures"][0]["reason"], "Ponte");
        assert_eq!(client.get("/calendar?from=2026-10-15&days=1").await.body["closures"], json!([]));
        assert_eq!(client.get("/calendar?from=2026-10-14").await.body["closures"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_described_is_refused_with_a_reason() {
    each_database(async |school| {
        let (_, client) = everything(&school).await;
        let child = school.children[0].0;
        for (path, code) in [
            ("/counts/2026-1-1", "invalid_path"),
            ("/counts/oggi", "invalid_path"),
            ("/counts/2026-10-15?scuola=1", "invalid_query"),
            ("/children/x", "invalid_path"),
            ("/children/0", "invalid_path"),
            ("/children?limit=0", "invalid_query"),
            ("/children?limit=501", "invalid_query"),
            ("/children?limit=10&limit=10", "invalid_query"),
            ("/operations?after=-1", "invalid_query"),
            ("/calendar?days=401", "invalid_query"),
            ("/receipts/12x456", "invalid_path"),
        ] {
            let answer = client.get(path).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, code), "{path}: {}", answer.body);
        }
        let order = json!({ "operation": "cancel", "day": THURSDAY });
        let (order_text, long) = (order.to_string(), "k".repeat(101));
        for key in ["short", "with space", &long] {
            assert_eq!(client.order(child, key, &order).await.code(), "idempotency_key_invalid", "{key}");
        }
        for (order, status) in [
            (json!({ "operation": "suspend", "day": THURSDAY }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "operation": "cancel", "day": "2026-10-15", "note": "x" }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "operation": "cancel" }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "operation": "cancel", "day": "x".repeat(20_000) }), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let answer = client.order(child, "chiave-0001", &order).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let post = |body: &str| Request::post(format!("/api/v1/children/{child}/operations")).body(Body::from(body.to_owned())).unwrap();
        let mut request = post(&order_text);
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        assert_eq!(client.send(request).await.code(), "idempotency_key_missing");
        let mut request = post("day=2026-10-15");
        request.headers_mut().insert("idempotency-key", "chiave-0001".parse().unwrap());
        assert_eq!(client.send(request).await.code(), "media_type");
        let mut request = post("{");
        request.headers_mut().insert("idempotency-key", "chiave-0001".parse().unwrap());
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        assert_eq!(client.send(request).await.code(), "invalid_json");
        let deleted = client.send(Request::delete(format!("/api/v1/children/{child}")).body(Body::empty()).unwrap()).await;
        assert_eq!((deleted.status, deleted.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD"));
        assert_eq!(client.get("/operations").await.body["items"], json!([]));
    })
    .await;
}

#[test]
fn the_description_is_complete() {
    let description = serde_json::to_value(api::description()).unwrap();
    assert_eq!(description["openapi"], "3.1.0");
    for (method, path, scope) in api::rules() {
        let operation = &description["paths"][&path][method.as_str().to_lowercase()];
        assert_eq!(operation["security"], json!([{ "token": [scope.word()] }]), "{path}");
        for status in ["400", "401", "403", "429", "503"] {
            assert!(operation["responses"][status]["content"]["application/problem+json"].is_object(), "{path} {status}");
        }
    }
    // What systems rely on does not change unnoticed.
    insta::assert_snapshot!("api_description", serde_json::to_string_pretty(&description).unwrap());
}
