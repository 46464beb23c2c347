//! The JSON API on both databases: who may what, whose data, how fast, and the rule over it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use support::{MONDAY_EVENING, School, at, day, each_database};
use tower::ServiceExt;
use voceguida::{
    canteen::{Choice, EnteId, Reason, window::Window},
    desk::{
        Desk,
        access::{self, Scope, TokenData},
        behalf::OfficeOrder,
        trail::Actor,
    },
    ops::clock::Clock,
    store::{NewOperation, TrailAsked, TrailSort, Verdict},
    web::{api, office::OfficeSettings},
};

const THURSDAY: &str = "2026-10-15";

/// A client of the API.
#[derive(Clone)]
struct Client {
    router: Router,
    token: Option<String>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Client {
    fn with(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    fn from(&self, address: &str) -> Self {
        Self { address: address.parse().unwrap(), ..self.clone() }
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo(self.address));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 8 << 20).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        if parts.status.is_client_error() || parts.status.is_server_error() {
            assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(body["status"], parts.status.as_u16());
            assert_eq!(body["type"], format!("urn:voceguida:problem:{}", body["code"].as_str().unwrap()));
        }
        assert_eq!(parts.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap()).await
    }

    async fn order(&self, child: i64, key: &str, order: &Value) -> Answer {
        let request = Request::post(format!("/api/v1/children/{child}/operations"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(order.to_string()))
            .unwrap();
        self.send(request).await
    }
}

fn admin(ente: EnteId) -> Actor {
    Actor { ente, person: None, name: "anna".into(), address: "198.51.100.7".into() }
}

async fn token(desk: &Desk, ente: EnteId, scopes: &[Scope]) -> (i64, String) {
    let data = TokenData { name: "centro cottura".into(), scopes: scopes.to_vec(), lasts: TimeDelta::days(30) };
    let (token, secret) = desk.make_token(&admin(ente), &data).await.unwrap();
    (token.row.id, access::shown(&secret))
}

/// The API over this desk, without a token.
fn client(desk: &Desk) -> Client {
    let router = api::router(desk.clone(), OfficeSettings::default());
    Client { router, token: None, address: "198.51.100.7:40000".parse().unwrap() }
}

/// The API on Monday evening, with a token of everything.
async fn everything(school: &School) -> (Desk, Client) {
    let desk = school.desk_at(MONDAY_EVENING);
    let (_, all) = token(&desk, school.ente, &Scope::ALL).await;
    let client = client(&desk).with(Some(&all));
    (desk, client)
}

/// A path that fits the route.
fn path_of(path: &str, child: i64) -> String {
    let path = path.strip_prefix("/api/v1").unwrap();
    path.replace("{child}", &child.to_string()).replace("{day}", THURSDAY).replace("{receipt}", "572406")
}

async fn try_route(client: &Client, method: &Method, path: &str, child: i64) -> Answer {
    if *method == Method::GET {
        client.get(&path_of(path, child)).await
    } else {
        client.order(child, "chiave-0001", &json!({ "operation": "cancel", "day": THURSDAY })).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_routes_and_no_other() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let client = client(&desk);
        let rules = api::rules();
        assert_eq!(rules.len(), 10);
        for scope in Scope::ALL {
            let (_, text) = token(&desk, school.ente, &[scope]).await;
            let client = client.with(Some(&text));
            for (method, path, needed) in &rules {
                let answer = try_route(&client, method, path, school.children[0].0).await;
                let what = format!("{scope} {method} {path}: {}", answer.body);
                if scope == *needed {
                    // The receipt of nobody is not there.
                    let expected = if path.contains("{receipt}") { StatusCode::NOT_FOUND } else { StatusCode::OK };
                    assert_eq!(answer.status, expected, "{what}");
                } else {
                    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "scope_missing"), "{what}");
                    assert!(answer.header("www-authenticate").contains(needed.word()), "{what}");
                }
            }
        }
        let table: Vec<_> = rules.iter().map(|(method, path, scope)| format!("{scope}: {method} {path}")).collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(table.join("\n"), @r"
            counts:read: GET /api/v1/counts/{day}
            calendar:read: GET /api/v1/calendar
            schools:read: GET /api/v1/schools
            schools:read: GET /api/v1/classes
            children:read: GET /api/v1/children
            children:read: GET /api/v1/children/{child}
            children:read: GET /api/v1/children/{child}/days
            operations:write: POST /api/v1/children/{child}/operations
            operations:read: GET /api/v1/operations
            receipts:read: GET /api/v1/receipts/{receipt}
            ");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_that_holds_nothing_is_open() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let client = client(&desk);
        let (id, good) = token(&desk, school.ente, &Scope::ALL).await;
        for (method, path, _) in api::rules() {
            let answer = try_route(&client, &method, &path, 1).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "token_missing"), "{path}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"voceguida\"");
        }
        for bad in ["", "x", &good[..60], &good.replace("vg_", "vg-"), &format!("vg_{}", "0".repeat(64))] {
            assert_eq!(client.with(Some(bad)).get("/schools").await.code(), "token_unknown", "{bad}");
        }
        assert_eq!(client.with(Some(&good)).get("/schools").await.status, StatusCode::OK);

        // Revoked at once, and only once, and by its own ente.
        let other = desk.put_ente("altro", "Altro comune", None, &Window::default()).await.unwrap();
        assert!(desk.revoke_token(&admin(other), id).await.is_err());
        assert_eq!(client.with(Some(&good)).get("/schools").await.status, StatusCode::OK);
        desk.revoke_token(&admin(school.ente), id).await.unwrap();
        assert!(desk.revoke_token(&admin(school.ente), id).await.is_err());
        let answer = client.with(Some(&good)).get("/schools").await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "token_revoked"));

        // Over after its days.
        let (_, good) = token(&desk, school.ente, &[Scope::Schools]).await;
        let later = |days: i64| {
            let desk = Desk::new(school.db.clone(), Clock::starting_at(desk.clock().now() + TimeDelta::days(days)));
            self::client(&desk).with(Some(&good))
        };
        // PostgreSQL's clock is the database's, shifted: a minute is no matter here.
        assert_eq!(later(29).get("/schools").await.status, StatusCode::OK);
        let answer = later(31).get("/schools").await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "token_expired"));

        // Who made and revoked them is known, and that they were used; the token itself is nowhere.
        let (tokens, _) = desk.tokens(school.ente).await.unwrap();
        assert_eq!(tokens.len(), 2);
        assert!(tokens[0].row.used_at.is_some());
        assert_eq!(tokens[0].row.used_from.as_deref(), Some("198.51.100.7"));
        assert_eq!((tokens[1].row.created_by.as_str(), tokens[1].row.revoked_by.as_deref()), ("anna", Some("anna")));
        let (lines, _) = desk.trail(school.ente, &whole_trail()).await.unwrap();
        let actions: Vec<_> = lines.iter().map(|l| l.action.as_str()).collect();
        assert_eq!(actions.iter().filter(|a| **a == "ha creato una chiave").count(), 2);
        assert_eq!(actions.iter().filter(|a| **a == "ha revocato una chiave").count(), 1);
        assert!(lines.iter().all(|l| !format!("{l:?}").contains(&good[3..])));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_ente_has_is_not_there() {
    each_database(async |school| {
        let (desk, _) = everything(&school).await;
        let other = desk.put_ente("altro", "Altro comune", None, &Window::default()).await.unwrap();
        let (_, theirs) = token(&desk, other, &Scope::ALL).await;
        let (_, ours) = token(&desk, school.ente, &Scope::ALL).await;
        let (ours, theirs) = (client(&desk).with(Some(&ours)), client(&desk).with(Some(&theirs)));
        let child = school.children[0].0;
        let done = ours.order(child, "chiave-0001", &json!({ "operation": "cancel", "day": THURSDAY })).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.body);
        let receipt = done.body["receipt"].as_str().unwrap();
        let school_id = ours.get("/schools").await.body["schools"][0]["id"].as_i64().unwrap();
        for path in [
            format!("/children/{child}"),
            format!("/children/{child}/days"),
            format!("/receipts/{receipt}"),
            format!("/counts/{THURSDAY}?school={school_id}"),
        ] {
            assert_eq!(ours.get(&path).await.status, StatusCode::OK, "{path}");
            assert_eq!(theirs.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        let order = json!({ "operation": "white", "day": "2026-10-16" });
        assert_eq!(theirs.order(child, "chiave-0002", &order).await.status, StatusCode::NOT_FOUND);
        for (path, list) in [
            ("/children", "children"),
            ("/operations", "operations"),
            ("/classes", "classes"),
            ("/schools", "schools"),
            (&format!("/children?school={school_id}"), "children"),
            (&format!("/operations?child={child}"), "operations"),
        ] {
            assert!(!ours.get(path).await.body[list].as_array().unwrap().is_empty(), "{path}");
            assert_eq!(theirs.get(path).await.body[list], json!([]), "{path}");
        }
        // Nobody's is not there either.
        assert_eq!(ours.get("/children/999999").await.status, StatusCode::NOT_FOUND);
        assert_eq!(ours.get("/receipts/000000").await.status, StatusCode::NOT_FOUND);
        assert_eq!(ours.get("/altro").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

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
        assert_eq!(client.get("/operations").await.body["operations"].as_array().unwrap().len(), 1);
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
        assert_eq!(client.get("/operations").await.body["operations"].as_array().unwrap().len(), 6);
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
            seen.extend(page["operations"].as_array().unwrap().iter().map(|o| o["id"].as_i64().unwrap()));
            after = page["cursor"].as_i64().unwrap();
            if page["more"] == json!(false) {
                break;
            }
        }
        assert_eq!(seen.len(), 7);
        assert!(seen.is_sorted());
        let page = client.get(&format!("/operations?after={after}")).await.body;
        assert_eq!(page, json!({ "operations": [], "cursor": after, "more": false }));
        let children = client.get("/children?limit=1").await.body;
        assert_eq!((children["children"].as_array().unwrap().len(), &children["more"]), (1, &json!(true)));
        let rest = client.get(&format!("/children?after={}", children["cursor"])).await.body;
        assert_eq!((rest["children"][0]["id"].as_i64().unwrap(), &rest["more"]), (school.children[1].0, &json!(false)));
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
        let reading = tokio::spawn(async move { client.get("/operations").await });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(!reading.is_finished(), "it waits for what is under way");
        slow.commit().await.unwrap();
        let page = reading.await.unwrap().body;
        let ids: Vec<_> = page["operations"].as_array().unwrap().iter().map(|o| o["id"].as_i64().unwrap()).collect();
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
async fn of_children_only_what_the_scope_gives_is_told() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let fields = async |scopes: &[Scope]| {
            let (_, text) = token(&desk, school.ente, scopes).await;
            let child = client(&desk).with(Some(&text)).get(&format!("/children/{}", school.children[0].0)).await.body;
            child.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(fields(&[Scope::Children]).await, "class enrolled_from enrolled_to id school");
        assert_eq!(fields(&[Scope::Children, Scope::Names]).await, "class enrolled_from enrolled_to first_name id last_name school");
        assert_eq!(fields(&[Scope::Children, Scope::Diets]).await, "class diet enrolled_from enrolled_to id school");
        // Nowhere a code, an adult, a caller's number or what a clerk wrote.
        let order = voceguida::desk::operate::Order {
            ente: school.ente,
            child: school.children[0],
            request: voceguida::canteen::rule::Request::Phone(Choice::Cancel),
            actor: "3471234567",
            call_id: Some("call"),
            key: "call-1",
            expected: None,
        };
        let receipt = desk.operate(&order).await.unwrap();
        assert!(matches!(receipt.verdict, Verdict::Accepted(_)));
        let (_, all) = token(&desk, school.ente, &Scope::ALL).await;
        let client = client(&desk).with(Some(&all));
        let receipt = format!("/receipts/{}", receipt.number);
        let (child, code) = (school.children[0].0, school.codes[0].as_str());
        for path in ["/children", "/operations", &format!("/children/{child}/days"), &receipt] {
            let answer = client.get(path).await;
            assert_eq!(answer.status, StatusCode::OK);
            let text = answer.body.to_string();
            assert!(!text.contains(code) && !text.contains("3471234567"), "{path}: {text}");
        }
        // That children's data were read is noted, once an hour and not once a request.
        client.get("/children").await;
        let (lines, _) = desk.trail(school.ente, &whole_trail()).await.unwrap();
        let read = lines.iter().filter(|l| l.action == "ha letto dati di bambini" && l.actor == "chiave centro cottura").count();
        assert_eq!(read, 4, "one for each token");
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
        assert_eq!((&classes["classes"][0]["name"], &classes["classes"][0]["school"]), (&json!("1A"), &schools["schools"][0]["id"]));
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
async fn whoever_asks_too_fast_or_guesses_is_told_to_wait() {
    each_database(async |school| {
        let (desk, client) = everything(&school).await;
        let (_, second) = token(&desk, school.ente, &[Scope::Schools]).await;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let slow = loop {
            // However slow the machine is: a burst at once is faster than the pace.
            let burst: Vec<_> = (0..300)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.get("/schools").await })
                })
                .collect();
            let mut slow = None;
            for one in burst {
                let answer = one.await.unwrap();
                if answer.status == StatusCode::TOO_MANY_REQUESTS {
                    slow = Some(answer);
                }
            }
            if slow.is_some() || std::time::Instant::now() > until {
                break slow;
            }
        };
        let slow = slow.expect("somebody is told to wait");
        assert_eq!(slow.code(), "too_many_requests");
        assert!(slow.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(client.with(Some(&second)).get("/schools").await.status, StatusCode::OK, "another token goes on");

        // Guesses from one address stop being looked at; others, and whoever held a token there, go on.
        let guess = format!("vg_{}", "0".repeat(64));
        let stranger = client.with(Some(&guess)).from("203.0.113.9:40000");
        let mut codes = Vec::new();
        for _ in 0..40 {
            codes.push(stranger.get("/schools").await.code().to_owned());
        }
        assert_eq!(codes[0], "token_unknown");
        assert!(codes.iter().any(|code| code == "too_many_requests"), "{codes:?}");
        assert_eq!(client.with(Some(&second)).from("203.0.113.10:40000").get("/schools").await.status, StatusCode::OK);
        assert_eq!(client.with(Some(&guess)).get("/schools").await.code(), "token_unknown");
        assert_eq!(client.with(Some(&second)).get("/schools").await.status, StatusCode::OK);
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
        assert_eq!(client.get("/operations").await.body["operations"], json!([]));
    })
    .await;
}

fn whole_trail() -> TrailAsked<'static> {
    TrailAsked {
        from: at("2026-01-01T00:00:00Z"),
        to: at("2030-01-01T00:00:00Z"),
        actor: "",
        action: "",
        subject: "",
        sort: TrailSort::At,
        descending: false,
        limit: 100,
        offset: 0,
    }
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
