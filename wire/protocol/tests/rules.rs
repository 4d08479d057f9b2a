//! The rules of what a message may say, one case each: what is refused, and that the refusal names the field.

use wire_protocol::codec::DecodeError;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::limits::{LEASES_PER_WORKER_MAX, LIST_LEN_MAX, NAME_BYTES_MAX, TICKET_BYTES_MAX};
use wire_protocol::log::{LOG_CHUNK_BYTES_MAX, LogStream, WorkerLog};
use wire_protocol::template::{Input, InputFile, Limits, Offer, Priority, WorkTemplate};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::worker_link::Join;

fn name_of(bytes: usize) -> String {
    "n".repeat(bytes)
}

fn file(path: &str, source: &str) -> InputFile {
    InputFile {
        path: path.to_owned(),
        source: source.to_owned(),
        unpack: false,
    }
}

fn template() -> WorkTemplate {
    WorkTemplate {
        command: vec!["true".to_owned()],
        ..WorkTemplate::default()
    }
}

type Change<T> = fn(&mut T);

#[test]
fn a_template_is_refused_for_each_rule_and_told_the_field() {
    let cases: &[(&str, &str, Change<WorkTemplate>)] = &[
        ("command", "has 257 entries", |t| {
            t.command = vec!["x".to_owned(); LIST_LEN_MAX + 1]
        }),
        ("env", "has 257 entries", |t| {
            t.env = vec![("A".to_owned(), String::new()); LIST_LEN_MAX + 1]
        }),
        ("columns", "has 257 entries", |t| {
            t.columns = vec!["x".to_owned(); LIST_LEN_MAX + 1]
        }),
        ("requirements.tags", "has 257 entries", |t| {
            t.requirements.tags = vec![String::new(); LIST_LEN_MAX + 1]
        }),
        ("requirements.custom", "has 257 entries", |t| {
            t.requirements.custom = vec![(String::new(), 1); LIST_LEN_MAX + 1];
        }),
        ("app", "is 257 bytes long", |t| {
            t.app = name_of(NAME_BYTES_MAX + 1)
        }),
        ("ticket", "is 1025 bytes long", |t| {
            t.ticket = vec![0; TICKET_BYTES_MAX + 1]
        }),
        ("label", "is 257 bytes long", |t| {
            t.label = name_of(NAME_BYTES_MAX + 1)
        }),
        ("columns", "is 257 bytes long", |t| {
            t.columns = vec![name_of(NAME_BYTES_MAX + 1)]
        }),
        ("requirements.tags", "is 257 bytes long", |t| {
            t.requirements.tags = vec![name_of(NAME_BYTES_MAX + 1)]
        }),
        ("requirements.custom", "is 257 bytes long", |t| {
            t.requirements.custom = vec![(name_of(NAME_BYTES_MAX + 1), 1)];
        }),
        ("requirements.os", "is 257 bytes long", |t| {
            t.requirements.os = Some(name_of(NAME_BYTES_MAX + 1))
        }),
        ("requirements.arch", "is 257 bytes long", |t| {
            t.requirements.arch = Some(name_of(NAME_BYTES_MAX + 1))
        }),
        ("requirements.group", "is 257 bytes long", |t| {
            t.requirements.group = Some(name_of(NAME_BYTES_MAX + 1))
        }),
        ("app", "is empty", |t| t.app = String::new()),
        ("app", "is empty", |t| t.app = ":alpine".to_owned()),
        ("command", "is empty", |t| t.command.clear()),
        ("command", "is empty", |t| t.command = vec![String::new()]),
        ("columns", "names `x` twice", |t| {
            t.columns = ["x", "y", "x"].map(str::to_owned).to_vec()
        }),
        ("env", "name is empty", |t| {
            t.env = vec![(String::new(), "1".to_owned())]
        }),
        ("env", "holds `=`", |t| {
            t.env = vec![("A=B".to_owned(), "1".to_owned())]
        }),
        ("env", "NUL", |t| t.env = vec![("A\0".to_owned(), "1".to_owned())]),
        ("command", "NUL", |t| t.command.push("a\0b".to_owned())),
        ("env", "NUL", |t| t.env = vec![("A".to_owned(), "\0".to_owned())]),
        ("priority", "is 10; 0 to 9", |t| t.priority = Priority(10)),
        ("limits.output", "is 65409 bytes; at most 65408", |t| {
            t.limits.output = Bytes(Limits::OUTPUT_MAX.0 + 1);
        }),
        ("limits.wall_clock", "is zero", |t| {
            t.limits.wall_clock = Millis(0)
        }),
        ("retry.attempts_max", "is 0; 1 to 1000", |t| {
            t.retry.attempts_max = 0
        }),
        ("retry.attempts_max", "is 1001; 1 to 1000", |t| {
            t.retry.attempts_max = 1_001
        }),
        ("input", "is 65537 bytes long; at most 65536", |t| {
            t.input = Input::Inline(vec![0; 65_537])
        }),
        ("files", "has 65 entries; at most 64", |t| {
            t.files = (0..65).map(|n| file(&n.to_string(), "a")).collect()
        }),
        ("files", "no folder", |t| {
            (t.app, t.files) = ("null".to_owned(), vec![file("a", "a")])
        }),
        ("files.path", "`../a` is no plain path", |t| {
            t.files = vec![file("../a", "a")]
        }),
        ("files.path", "`/a` is no plain path", |t| {
            t.files = vec![file("/a", "a")]
        }),
        ("files.path", "`.` is no plain path", |t| {
            t.files = vec![file(".", "a")]
        }),
        ("files.path", "names `a` twice", |t| {
            t.files = vec![file("a", "b"), file("a", "c")]
        }),
        ("files.source", "{tile} names no column", |t| {
            t.files = vec![file("a", "tiles/{tile}")]
        }),
        ("files.source", "only http://", |t| {
            t.files = vec![file("a", "file:///etc/passwd")]
        }),
        ("input", "64 hexadecimal", |t| {
            t.input = Input::File("sha256:12".to_owned())
        }),
        ("outputs.collect", "`out//*` is no plain path", |t| {
            t.outputs.collect = vec!["out//*".to_owned()]
        }),
        ("outputs.consensus", "`a/..` is no plain path", |t| {
            t.outputs.consensus = Some("a/..".to_owned())
        }),
        ("requirements.custom", "names `licence` twice", |t| {
            t.requirements.custom = vec![("licence".to_owned(), 1), ("licence".to_owned(), 2)]
        }),
        ("template", "at most 131072", |t| {
            t.command = vec![name_of(1_000); 200]
        }),
    ];
    for (field, problem, change) in cases {
        let mut template = template();
        change(&mut template);
        let invalid = template.validate().expect_err(problem);
        assert_eq!(invalid.field, *field, "{invalid}");
        assert!(
            invalid.problem.contains(problem),
            "`{invalid}` does not say `{problem}`"
        );
        assert!(invalid.to_string().starts_with(field));
    }
}

#[test]
fn a_template_at_its_bounds_is_taken() {
    let cases: &[Change<WorkTemplate>] = &[
        |_| {},
        |t| t.command = vec!["x".to_owned(); LIST_LEN_MAX],
        |t| t.app = "null".to_owned(),
        |t| t.label = name_of(NAME_BYTES_MAX),
        |t| t.ticket = vec![0; TICKET_BYTES_MAX],
        |t| t.priority = Priority::MAX,
        |t| t.limits.output = Limits::OUTPUT_MAX,
        |t| t.limits.wall_clock = Millis(1),
        |t| (t.category, t.limits.wall_clock) = (Some("M".to_owned()), Millis(0)),
        |t| t.retry.attempts_max = 1_000,
        |t| t.input = Input::Inline(vec![0; 65_536]),
        |t| t.time_to_live = Some(Millis(0)),
        |t| t.files = (0..64).map(|n| file(&n.to_string(), "a")).collect(),
        |t| {
            t.columns = vec!["tile".to_owned()];
            t.files = vec![
                file("a", "{tile}"),
                file("b", "https://host/{tile}#sha256={tile}"),
            ];
            t.outputs.collect = vec!["**/*.png".to_owned()];
        },
        |t| {
            t.files = vec![InputFile {
                unpack: true,
                ..file(".", "a.tar")
            }]
        },
        |t| (t.app, t.command) = ("docker:alpine@sha256:00".to_owned(), Vec::new()),
    ];
    for (case, change) in cases.iter().enumerate() {
        let mut template = template();
        change(&mut template);
        assert_eq!(template.validate(), Ok(()), "case {case}");
    }
    assert_eq!(
        WorkTemplate {
            app: "docker:a:b".to_owned(),
            ..template()
        }
        .executor(),
        "docker"
    );
}

fn join() -> Join {
    Join {
        login: String::new(),
        enrol: None,
        wallet: None,
        password: String::new(),
        uid: "u".to_owned(),
        name: String::new(),
        version: String::new(),
        offer: Offer {
            slots: 1,
            ..Offer::default()
        },
        held: Vec::new(),
        running: Vec::new(),
        unacknowledged: Vec::new(),
        warm: Vec::new(),
    }
}

const TOKEN: LeaseToken = LeaseToken {
    work: WorkId(1),
    epoch: Epoch(1),
    attempt: Attempt(1),
    shard: Shard(0),
};

#[test]
fn a_join_is_refused_for_each_bound_and_told_which() {
    let long = NAME_BYTES_MAX as u64 + 1;
    let many = LIST_LEN_MAX as u64 + 1;
    let leases = LEASES_PER_WORKER_MAX as u64 + 1;
    let cases: &[(&str, u64, Change<Join>)] = &[
        ("join: name", long, |j| j.login = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| j.password = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| j.uid = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| j.name = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| j.version = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| j.offer.os = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| j.offer.arch = name_of(NAME_BYTES_MAX + 1)),
        ("join: name", long, |j| {
            j.offer.executors = vec![name_of(NAME_BYTES_MAX + 1)]
        }),
        ("join: name", long, |j| {
            j.offer.tags = vec![name_of(NAME_BYTES_MAX + 1)]
        }),
        ("join: name", long, |j| {
            j.offer.groups = vec![name_of(NAME_BYTES_MAX + 1)]
        }),
        ("join: name", long, |j| {
            j.offer.custom = vec![(name_of(NAME_BYTES_MAX + 1), 1)]
        }),
        ("join: list", many, |j| {
            j.offer.executors = vec![String::new(); LIST_LEN_MAX + 1]
        }),
        ("join: list", many, |j| {
            j.offer.tags = vec![String::new(); LIST_LEN_MAX + 1]
        }),
        ("join: list", many, |j| {
            j.offer.groups = vec![String::new(); LIST_LEN_MAX + 1]
        }),
        ("join: warm", 65, |j| j.warm = vec![0; 65]),
        ("join: custom", many, |j| {
            j.offer.custom = vec![(String::new(), 1); LIST_LEN_MAX + 1]
        }),
        ("join: leases", leases, |j| {
            j.held = vec![TOKEN; LEASES_PER_WORKER_MAX + 1]
        }),
        ("join: leases", leases, |j| {
            j.running = vec![TOKEN; LEASES_PER_WORKER_MAX + 1]
        }),
        ("join: leases", leases, |j| {
            j.unacknowledged = vec![TOKEN; LEASES_PER_WORKER_MAX + 1]
        }),
        ("join: slots", leases, |j| {
            j.offer.prefill = LEASES_PER_WORKER_MAX as u32
        }),
        ("join: slots", u64::from(u32::MAX), |j| j.offer.slots = u32::MAX),
        ("join: uid or slots", 0, |j| j.uid = String::new()),
        ("join: uid or slots", 0, |j| j.offer.slots = 0),
    ];
    for (case, (field, value, change)) in cases.iter().enumerate() {
        let mut join = join();
        change(&mut join);
        let expected = DecodeError::OutOfRange { field, value: *value };
        assert_eq!(join.validate(), Err(expected), "case {case}");
    }
}

#[test]
fn a_join_at_its_bounds_is_taken() {
    let cases: &[Change<Join>] = &[
        |_| {},
        |j| j.password = name_of(NAME_BYTES_MAX),
        |j| j.offer.tags = vec![name_of(NAME_BYTES_MAX); LIST_LEN_MAX],
        |j| j.held = vec![TOKEN; LEASES_PER_WORKER_MAX],
        |j| j.offer.prefill = LEASES_PER_WORKER_MAX as u32 - 1,
    ];
    for (case, change) in cases.iter().enumerate() {
        let mut join = join();
        change(&mut join);
        assert_eq!(join.validate(), Ok(()), "case {case}");
    }
}

#[test]
fn bytes_read_like_people_write_them() {
    let cases = [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (1_536, "1.5 KiB"),
        (1_048_575, "1023.9 KiB"),
        (1_048_576, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 50, "1024.0 TiB"),
        (u64::MAX, "16777215.9 TiB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(Bytes(bytes).to_string(), text);
    }
}

#[test]
fn spans_read_like_people_write_them() {
    let cases = [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (1_550, "1.5 s"),
        (119_999, "119.9 s"),
        (120_000, "2 min"),
        (3_600_000, "60 min"),
    ];
    for (ms, text) in cases {
        assert_eq!(Millis(ms).to_string(), text);
    }
}

#[test]
fn pool_time_stops_at_its_ends_instead_of_wrapping() {
    assert_eq!(Instant(u64::MAX) + Millis(1), Instant(u64::MAX));
    assert_eq!(Instant(0) + Millis(u64::MAX), Instant(u64::MAX));
    assert_eq!(Instant(5) - Millis(1), Instant(0));
    assert_eq!(Instant(5).since(Instant(6)), Millis(0));
    assert_eq!((Instant(7) + Millis(1_500)).since(Instant(7)), Millis(1_500));
}

#[test]
fn a_lease_token_stands_on_the_wire_as_documented() {
    let token = LeaseToken {
        work: WorkId(0x0102_0304_0506_0708),
        epoch: Epoch(0x1112_1314),
        attempt: Attempt(0x2122),
        shard: Shard(0x3132),
    };
    let bytes = [
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x14, 0x13, 0x12, 0x11, 0x22, 0x21, 0x32, 0x31,
    ];
    assert_eq!(token.to_bytes(), bytes);
    assert_eq!(LeaseToken::from_bytes(&bytes), token);
    assert_eq!(token.to_string(), "s12594/e286397204/w72623859790382856/a8482");
}

#[test]
fn a_piece_of_output_names_its_stream_and_is_bounded() {
    let token = LeaseToken {
        work: WorkId(1),
        epoch: Epoch(1),
        attempt: Attempt(1),
        shard: Shard(0),
    };
    let payload = |stream: u8, bytes: usize| {
        let mut payload = token.to_bytes().to_vec();
        payload.push(stream);
        payload.extend_from_slice(&7_u64.to_le_bytes());
        payload.resize(payload.len() + bytes, b'x');
        payload
    };
    let good = payload(2, LOG_CHUNK_BYTES_MAX);
    let read = WorkerLog::parse(&good).expect("the longest there is");
    assert_eq!(
        (read.token, read.chunk.stream, read.chunk.offset),
        (token, LogStream::Stderr, 7)
    );
    for (payload, field) in [
        (payload(0, 1), "log stream"),
        (payload(3, 1), "log stream"),
        (payload(1, LOG_CHUNK_BYTES_MAX + 1), "log bytes"),
    ] {
        let refused = WorkerLog::parse(&payload);
        assert!(
            matches!(refused, Err(DecodeError::OutOfRange { field: named, .. }) if named == field),
            "{refused:?}"
        );
    }
    assert!(WorkerLog::parse(&good[..20]).is_err(), "cut");
}
