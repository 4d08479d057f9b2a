//! What is unusual but allowed arrives in the tables as it was submitted; what is not allowed is refused by its name.

use client::protocol::limits::{NAME_BYTES_MAX, ROW_BYTES_MAX};
use client::protocol::template::{Limits, WorkTemplate};
use client::protocol::units::Millis;
use client::{Client, ClientError, SubmitOptions};
use sidecars_tables::Target;
use testkit::sql::{SqlKind, SqlServer};

use super::following::of_server;
use crate::kit::{Engine, Sidecar, client_of, pool_db, texts};

/// With quotes, a backslash, a NUL, characters of two and of four bytes, and what SQL takes for a pattern or a comment.
const STRANGE: &str = "Ю\u{1f980} o'clock \"\\\0%_;-- \u{7f}\u{80}\u{10ffff}'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_works_are_in_a_file_as_they_were_submitted() {
    let engine = Engine::start(&[]);
    let target = Target::Sqlite(engine.data().join("pool.sqlite"));
    strange_works(engine, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_mariadb() {
    let server = SqlServer::start(SqlKind::MariaDb);
    strange_works(Engine::start(&[]), &of_server(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_mysql() {
    let server = SqlServer::start(SqlKind::MySql);
    strange_works(Engine::start(&[]), &of_server(&server).await).await;
}

async fn strange_works(mut engine: Engine, target: &Target) {
    engine.add_worker("Муравей\u{1f41c} 'n\" \\%", 4);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), target);
    sidecar.start();
    let client = client_of(&engine).await;
    let rows = [
        Vec::new(),
        STRANGE.as_bytes().to_vec(),
        (0..=255).collect(),
        vec![0; ROW_BYTES_MAX],
        b"'\\".repeat(ROW_BYTES_MAX / 2),
    ];
    let label = format!(
        "{STRANGE}{}",
        "\u{1f980}".repeat((NAME_BYTES_MAX - STRANGE.len()) / 4)
    );
    let template = WorkTemplate {
        // No worker knows what that is: its works fail.
        app: format!("null:{STRANGE}"),
        label: label.clone(),
        // A deadline that no clock reaches.
        time_to_live: Some(Millis(u64::MAX)),
        ..WorkTemplate::default()
    };
    let first = run(&client, template, &rows).await;

    // What a process prints, up to as much as is kept.
    let printed = WorkTemplate {
        command: [
            "/bin/sh",
            "-c",
            "printf '\\000\\377\\047\\134'; head -c 70000 /dev/zero",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..WorkTemplate::default()
    };
    let second = run(&client, printed, &[Vec::new()]).await;

    refusals(&client).await;

    sidecar.wait_for_lsn(client.status().await.expect("an answer").lsn.0);
    let found = texts(
        target,
        "SELECT CONCAT(work_id, ' ', state, ' ', HEX(parameters)) FROM pool_works ORDER BY work_id",
    )
    .await;
    let expected: Vec<_> = (first..)
        .zip(&rows)
        .map(|(work, row)| format!("{work} failed {}", hex(row)))
        .collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found == expected, "{found:.200}\n{expected:.200}");
    }
    assert_eq!(
        found.len(),
        rows.len() + 1,
        "nothing of what was refused is there"
    );

    let names = texts(
        target,
        "SELECT CONCAT(HEX(app), ' ', HEX(label)) FROM pool_batches ORDER BY batch_id",
    )
    .await;
    let strange = format!(
        "{} {}",
        hex(format!("null:{STRANGE}").as_bytes()),
        hex(label.as_bytes())
    );
    assert_eq!(names[0], strange);
    let workers = texts(target, "SELECT CONCAT(HEX(name)) FROM pool_workers").await;
    assert_eq!(workers, [hex("Муравей\u{1f41c} 'n\" \\%".as_bytes())]);

    let told = client
        .work(client::protocol::ids::WorkId(second))
        .await
        .expect("it is remembered");
    assert!(
        told.result.len() > Limits::OUTPUT_MAX.0 as usize,
        "{} bytes",
        told.result.len()
    );
    let results = texts(
        target,
        "SELECT CONCAT(HEX(result)) FROM pool_works ORDER BY work_id DESC LIMIT 1",
    )
    .await;
    assert!(
        results[0] == hex(&told.result),
        "the result is that which the engine has"
    );

    // By the eyes of an operator too.
    let (code, said, problem) = pool_db(&["verify"], &engine.data(), target);
    assert_eq!(code, 0, "{said} {problem}");
    let (code, said, problem) = pool_db(&["works", "--app", "process"], &engine.data(), target);
    assert_eq!(
        (code, said.as_array().map(Vec::len)),
        (0, Some(1)),
        "{said} {problem}"
    );
    sidecar.stop();
}

/// Each is refused as a whole, by the name of what is wrong.
async fn refusals(client: &Client) {
    let null = || WorkTemplate {
        app: "null".to_owned(),
        ..WorkTemplate::default()
    };
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for (template, row, named) in [
        (null(), vec![b'x'; ROW_BYTES_MAX + 1], "65536"),
        (
            WorkTemplate {
                label: long.clone(),
                ..null()
            },
            Vec::new(),
            "label",
        ),
        (
            WorkTemplate {
                app: format!("null:{long}"),
                ..null()
            },
            Vec::new(),
            "app",
        ),
        (
            WorkTemplate {
                app: "process".to_owned(),
                command: vec!["a\0b".to_owned()],
                ..null()
            },
            Vec::new(),
            "command",
        ),
    ] {
        let refused = client.submit(template, [row], SubmitOptions::default()).await;
        let refused: ClientError = refused.expect_err(named);
        assert!(refused.to_string().contains(named), "{refused}");
    }
}

/// The first work of a submission that has come to its end.
async fn run(client: &Client, template: WorkTemplate, rows: &[Vec<u8>]) -> u64 {
    let (upload, mut follow) = client
        .submit_followed(template, rows.len() as u32, SubmitOptions::default())
        .expect("valid");
    let accepted = upload.send(rows).await.expect("accepted");
    while follow.recv(|_| {}).await.expect("outcomes come") > 0 {}
    accepted.first.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
