//! Logins, queries and commands.

use std::net::UdpSocket;
use std::time::Duration;

use client::{Client, ClientError, Trust};
use wire_protocol::client_link::Selector;
use wire_protocol::ids::WorkId;
use wire_protocol::note::{Note, NoteChange, WriteNotes};
use wire_protocol::view::Filter;

use crate::engine::{Engine, Fault, Script};
use crate::submitting::{rows, template};

#[tokio::test]
async fn each_of_many_pipelined_queries_gets_its_own_answer() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let asked: Vec<_> = (500..1_000)
        .map(|work| {
            let client = client.clone();
            (work, tokio::spawn(async move { client.work(WorkId(work)).await }))
        })
        .collect();
    for (work, asked) in asked {
        match asked.await.unwrap() {
            Err(ClientError::NotFound { what }) => assert_eq!(what, format!("w{work}")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.engine().unwrap().version, "test");
}

#[tokio::test]
async fn a_command_is_asked_again_after_the_link_was_lost() {
    let engine = Engine::start(Script {
        command_faults: vec![Fault::LoseBefore, Fault::LoseBefore],
        ..Script::default()
    });
    let client = engine.client().await;
    assert_eq!(client.cancel(Selector::Work(WorkId(1))).await.unwrap(), 1);
    assert_eq!(engine.script().seen, ["command", "command", "command"]);
}

#[tokio::test]
async fn a_page_may_be_short_without_being_the_last() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    client
        .submit(template(), rows(8), Default::default())
        .await
        .unwrap();
    let (mut after, mut seen) = (WorkId(0), Vec::new());
    loop {
        let page = client.works(Filter::default(), after, 100).await.unwrap();
        seen.extend(page.works.iter().map(|work| work.row));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen, [0, 2, 4, 6]);
}

#[tokio::test]
async fn notes_under_a_prefix_are_those_and_no_others_however_many_pages_they_take() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let holder = client.take_notebook("chain").await.unwrap();
    let keys = ["cursor", "order/1", "row/a", "row/b", "row/c", "row/d", "s", "t"];
    let change = |key: &str| NoteChange {
        key: key.to_owned(),
        value: Some(key.as_bytes().to_vec()),
    };
    let written = WriteNotes {
        notebook: "chain".into(),
        holder,
        changes: keys.map(change).to_vec(),
    };
    client.write_notes(written).await.unwrap();
    let found = |notes: Vec<Note>| notes.into_iter().map(|note| note.key).collect::<Vec<_>>();
    assert_eq!(found(client.notes("chain").await.unwrap()), keys);
    assert_eq!(
        found(client.notes_under("chain", "row/").await.unwrap()),
        ["row/a", "row/b", "row/c", "row/d"]
    );
    assert_eq!(
        found(client.notes_under("chain", "row/d").await.unwrap()),
        [""; 0]
    );
    let nobody = client.notes_under("nobody's", "row/").await;
    assert!(matches!(nobody, Err(ClientError::NotFound { .. })), "{nobody:?}");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_tried_again() {
    let engine = Engine::start(Script::default());
    let error = engine.refusal(|options| options.password = "wrong".into()).await;
    assert!(
        matches!(&error, ClientError::Credentials { login, .. } if login == "admin"),
        "{error:?}"
    );
    assert!(
        !format!("{:?}", engine.options()).contains("right"),
        "a password is not printed"
    );
}

#[tokio::test]
async fn an_engine_under_another_ca_is_not_trusted() {
    let (engine, other) = (Engine::start(Script::default()), Engine::start(Script::default()));
    let error = engine
        .refusal(|options| options.trust = Trust::Ca(other.ca.clone()))
        .await;
    assert!(
        matches!(error, ClientError::Connect { .. }) && !error.is_transient(),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_at_once() {
    let engine = Engine::start(Script::default());
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = engine.options();
    // Far more than the whole test may take: the answer does not come from a timeout.
    options.connect_timeout = Duration::from_secs(3_600);
    options.addr = free;
    let asked = tokio::time::timeout(Duration::from_secs(30), Client::connect(options));
    let error = asked.await.expect("not by a timeout").expect_err("refused");
    assert!(
        matches!(error, ClientError::NobodyListens { addr } if addr == free),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_engine_that_stays_away_is_given_up() {
    let engine = Engine::start(Script::default());
    let mut options = engine.options();
    options.timeout = Duration::from_millis(300);
    options.patience = Duration::from_millis(300);
    let client = Client::connect(options).await.unwrap();
    engine.script().command_faults = vec![Fault::LoseBefore];
    let asked = client.snapshot();
    let (asked, ()) = tokio::join!(asked, async {
        while engine.script().seen.is_empty() {
            tokio::task::yield_now().await;
        }
        // Every further login is refused for a reason that may pass: the thread of the engine is gone.
        drop(engine);
    });
    assert!(matches!(asked, Err(ClientError::Away { .. })), "{asked:?}");
}
