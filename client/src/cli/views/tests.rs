//! Every view in every form.

use std::time::Duration;

use super::work::printed;
use super::*;
use crate::cli::output::{Show, json_of};
use wire_protocol::category::Category;
use wire_protocol::file::Digest;
use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, Shard, WorkId, WorkerId};
use wire_protocol::joining::Approval;
use wire_protocol::outcome::{Archive, Outcome, Output, Reason};
use wire_protocol::resources::Packing;
use wire_protocol::template::{Offer, Priority, Requirements, WorkTemplate};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::{
    BagView, Explanation, QueueView, StatusView, SubscriberView, Tally, WorkDetail, WorkState, WorkView,
    WorkerState, WorkerView,
};

const AT: Instant = Instant(1_795_471_200_500_000_000);

fn work() -> WorkView {
    WorkView {
        work: WorkId(12),
        bag: BagId(3),
        row: 11,
        state: WorkState::Done(Outcome::Failed),
        attempt: Attempt(2),
        worker: Some(WorkerId(1)),
        reason: Reason::ExitCode,
        label: "nightly".into(),
        app: "process".into(),
        parameters: vec![("y".into(), "1".into()), ("x".into(), "é\n".into())],
        submitted: AT,
    }
}

fn detail() -> WorkDetail {
    let mut result = Vec::new();
    Output {
        stdout: b"one\ntwo\n",
        stderr: b"\xff",
        stdout_cut: false,
        stderr_cut: true,
        archive: Some(Archive {
            digest: Digest([0xab; 32]),
            bytes: 12_345_678,
        }),
        consensus: Some(Digest([0xcd; 32])),
    }
    .encode(&mut result);
    let template = WorkTemplate {
        command: ["render", "{x}", "{y}"].map(str::to_owned).to_vec(),
        requirements: Requirements {
            memory: Bytes::from_mib(2048),
            gpus: 1,
            ..Requirements::default()
        },
        ..WorkTemplate::default()
    };
    WorkDetail {
        work: work(),
        template,
        exit_code: 3,
        elapsed_us: 1_500_000,
        result,
    }
}

fn bag() -> BagView {
    BagView {
        bag: BagId(3),
        first: WorkId(1),
        rows_total: 21,
        tally: Tally {
            queued: 1,
            leased: 2,
            succeeded: 3,
            failed: 4,
            cancelled: 5,
            expired: 6,
        },
        priority: Priority(4),
        tenant: "admin".into(),
        label: "nightly".into(),
        app: "process".into(),
        submitted: AT,
    }
}

fn worker() -> WorkerView {
    WorkerView {
        worker: WorkerId(1),
        uid: "u-1".into(),
        name: "worker-1".into(),
        state: WorkerState::Ready,
        problem: Some("disk full".into()),
        held: 2,
        finished: 30,
        offer: Offer {
            executors: vec!["null".into(), "process".into()],
            os: "linux".into(),
            arch: "x86_64".into(),
            cores: 8,
            memory: Bytes::from_mib(16_384),
            disk: Bytes::from_mib(1_024),
            gpus: 0,
            tags: vec!["ssd".into()],
            groups: Vec::new(),
            custom: vec![("fpga".into(), 1)],
            slots: 4,
            prefill: 8,
            packing: Packing::Slots,
        },
        silent_for: Millis(250),
        version: "0.1.0".into(),
        approval: Approval::Approved,
        certificate: None,
        wallet: None,
    }
}

fn queue() -> QueueView {
    QueueView {
        tenant: "admin".into(),
        priority: Priority(4),
        class: "process, 1 gpu".into(),
        queued: 7,
        workers_eligible: 0,
    }
}

fn category() -> Category {
    Category {
        disk: Bytes(0),
        ..Category::defaults().remove(2)
    }
}

fn status() -> StatusView {
    StatusView {
        shard: Shard(0),
        epoch: Epoch(3),
        version: "0.1.0".into(),
        uptime: Millis(61_500),
        works_queued: 1,
        works_leased: 2,
        works_done: 3,
        finished_total: 4,
        accepted_total: 5,
        bags: 6,
        workers_connected: 7,
        slots: 8,
        lsn: Lsn(9),
        works_max: 10,
        rows_bytes: Bytes(11),
        rejoin_wait: Millis(12),
        subscribers: vec![
            SubscriberView {
                name: "mirror".into(),
                connected: false,
                acknowledged: Lsn(9),
                ..SubscriberView::default()
            },
            SubscriberView {
                name: "persist".into(),
                connected: true,
                acknowledged: Lsn(4),
                lag_records: 5,
                lag_bytes: Bytes(65_536),
                lag: Millis(1_500),
            },
        ],
    }
}

fn explained() -> Explained {
    let facts = vec!["worker-1: memory: the work asks for 2.0 GiB, the worker has 1.0 GiB".to_owned()];
    let summary = "no connected worker can run it".to_owned();
    Explained {
        subject: "w12".into(),
        explanation: Explanation { summary, facts },
    }
}

fn summary() -> Summary {
    Summary {
        bag: 3,
        works: 10,
        succeeded: 7,
        failed: 2,
        unknown: 1,
        took: Duration::from_millis(2_500),
        ..Summary::default()
    }
}

/// One line a kind. Programs read these: fields may be added, nothing else.
#[test]
fn json_keeps_its_form() {
    let submission = client::Submission {
        bag: BagId(3),
        first: WorkId(1),
        rows: 21,
    };
    let lines = [
        json_of(&work()),
        json_of(&detail()),
        json_of(&bag()),
        json_of(&worker()),
        json_of(&queue()),
        json_of(&status()),
        json_of(&explained()),
        json_of(&Changed {
            action: "cancel",
            subject: "b3".into(),
            changed: 5,
        }),
        json_of(&Submitted(submission)),
        json_of(&summary()),
        json_of(&category()),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn texts_for_people_say_the_same() {
    let submission = client::Submission {
        bag: BagId(3),
        first: WorkId(1),
        rows: 21,
    };
    let texts = [
        work().text(),
        detail().text(),
        bag().text(),
        worker().text(),
        queue().text(),
        status().text(),
        explained().text(),
        Changed {
            action: "cancel",
            subject: "b3".into(),
            changed: 0,
        }
        .text(),
        Submitted(submission).text(),
        summary().text(),
        category().text(),
    ];
    insta::assert_snapshot!(texts.join("\n----\n"));
}

#[test]
fn the_result_of_an_executor_that_prints_nothing_is_shown_as_it_is() {
    let mut detail = detail();
    detail.template.app = "null".into();
    detail.result = b"\x01raw".to_vec();
    assert_eq!(output_of(&detail).stdout, b"\x01raw");
}

#[test]
fn output_that_would_upset_a_terminal_is_counted_instead() {
    assert_eq!(printed(b"a\x1b[2J", false), "5 bytes; see `pool work logs`");
    assert_eq!(
        printed(b"\xff", true),
        "1 bytes (and more, which was not kept); see `pool work logs`"
    );
    assert_eq!(printed(b"plain\n", false), "plain");
}

#[test]
fn rows_of_a_table_have_as_many_cells_as_its_head() {
    assert_eq!(work().cells().len(), WorkView::COLUMNS.len());
    assert_eq!(detail().cells().len(), WorkDetail::COLUMNS.len());
    assert_eq!(bag().cells().len(), BagView::COLUMNS.len());
    assert_eq!(worker().cells().len(), WorkerView::COLUMNS.len());
    assert_eq!(queue().cells().len(), QueueView::COLUMNS.len());
    assert_eq!(status().cells().len(), StatusView::COLUMNS.len());
    assert_eq!(explained().cells().len(), Explained::COLUMNS.len());
    assert_eq!(category().cells().len(), Category::COLUMNS.len());
    assert_eq!(summary().cells().len(), Summary::COLUMNS.len());
}
