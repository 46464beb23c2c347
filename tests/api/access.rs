//! Who may what, whose data it is, and how fast.

use axum::http::{Method, StatusCode};
use chrono::TimeDelta;
use serde_json::json;
use voceguida::{
    canteen::{Choice, window::Window},
    desk::{Desk, access::Scope},
    ops::clock::Clock,
    store::{TrailAsked, TrailSort, Verdict},
    web::api,
};

use crate::{
    client::{Answer, Client, THURSDAY, admin, client, everything, token},
    support::{MONDAY_EVENING, at, each_database},
};

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
            ("/children", "items"),
            ("/operations", "items"),
            ("/classes", "items"),
            ("/schools", "schools"),
            (&format!("/children?school={school_id}"), "items"),
            (&format!("/operations?child={child}"), "items"),
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
async fn whoever_asks_too_fast_or_guesses_is_told_to_wait() {
    each_database(async |school| {
        let (desk, client) = everything(&school).await;
        let (_, second) = token(&desk, school.ente, &[Scope::Schools]).await;
        let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
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
