//! Golden bytes: what every message looks like on the wire, committed and compared in both directions.
//!
//! `tests/golden/<link>/<kind>.txt` holds a message's kind byte, its payload in hexadecimal and what it says.
//! A difference is a change of the wire format: it breaks every peer and every journal that exists, unless it
//! comes with a new ALPN name or a new kind. After adding a message or a sample, write its files with
//!
//! ```text
//! GOLDEN=write cargo test -p wire-protocol --test golden
//! ```
//!
//! and review the diff. The same run writes the seeds of the fuzz target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::{env, fs};

use support::{Link, Message};
use wire_protocol::frame;

#[path = "support/samples/mod.rs"]
mod samples;
mod support;

fn folder(link: Link) -> &'static str {
    match link {
        Link::WorkerToEngine => "worker-to-engine",
        Link::EngineToWorker => "engine-to-worker",
        Link::ClientToEngine => "client-to-engine",
        Link::EngineToClient => "engine-to-client",
        Link::SubscriberToEngine => "subscriber-to-engine",
        Link::EngineToSubscriber => "engine-to-subscriber",
        Link::Record => "record",
    }
}

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden_file(link: Link, name: &str) -> PathBuf {
    crate_folder()
        .join("tests/golden")
        .join(folder(link))
        .join(format!("{name}.txt"))
}

/// The text of a golden file.
fn golden_text(link: Link, name: &str, message: &Message) -> String {
    let (kind, payload) = message.encode();
    let mut text = format!("{} {name}\n\nkind {kind:#04x}\n", folder(link));
    writeln!(text, "payload, {} bytes", payload.len()).expect("to memory");
    for line in payload.chunks(32) {
        let words: Vec<_> = line
            .chunks(4)
            .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            .collect();
        writeln!(text, "  {}", words.join(" ")).expect("to memory");
    }
    write!(text, "\n{message:#?}\n").expect("to memory");
    text
}

/// Kind byte, payload and decoded text of a golden file.
fn read_golden(file: &Path) -> (u8, Vec<u8>, String) {
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{}: {error}; see the top of golden.rs", file.display()));
    let mut parts = text.splitn(3, "\n\n");
    let _title = parts.next();
    let bytes = parts.next().expect("a part with the bytes");
    let decoded = parts.next().expect("a part with the decoded message");
    let mut lines = bytes.lines();
    let kind = lines
        .next()
        .and_then(|line| line.strip_prefix("kind 0x"))
        .expect("a kind");
    let digits: Vec<u32> = lines
        .skip(1)
        .flat_map(str::chars)
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let payload = digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect();
    (
        u8::from_str_radix(kind, 16).expect("a byte"),
        payload,
        decoded.trim_end().to_owned(),
    )
}

/// What the fuzz target reads: a byte that chooses the link, then frames. One seed for each kind.
fn seeds() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut seeds: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for sample in samples::all() {
        let kind = sample.name.split('.').next().expect("a name");
        let name = format!("seed-{}-{kind}", folder(sample.link));
        let link = Link::ALL
            .iter()
            .position(|link| *link == sample.link)
            .expect("one of them");
        let seed = seeds.entry(crate_folder().join("fuzz/corpus/decode").join(name));
        sample.message.push(seed.or_insert_with(|| vec![link as u8]));
    }
    seeds
}

/// Writes all files anew if the environment asks for it; called by every test that reads them.
fn write_if_asked() {
    static WRITTEN: Once = Once::new();
    if env::var_os("GOLDEN").is_none_or(|value| value != "write") {
        return;
    }
    WRITTEN.call_once(|| {
        let golden = crate_folder().join("tests/golden");
        if golden.exists() {
            fs::remove_dir_all(&golden).expect("can remove the old files");
        }
        let texts = samples::all().into_iter().map(|sample| {
            let text = golden_text(sample.link, sample.name, &sample.message);
            (golden_file(sample.link, sample.name), text.into_bytes())
        });
        for (file, content) in texts.chain(seeds()) {
            fs::create_dir_all(file.parent().expect("has a folder")).expect("can make the folder");
            fs::write(file, content).expect("can write the file");
        }
    });
}

#[test]
fn every_message_is_written_as_its_golden_file_says() {
    write_if_asked();
    for sample in samples::all() {
        let file = golden_file(sample.link, sample.name);
        let text = golden_text(sample.link, sample.name, &sample.message);
        let golden = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            golden,
            text,
            "{} differs from what the code writes",
            file.display()
        );
    }
}

#[test]
fn every_golden_file_is_read_as_the_message_it_shows() {
    write_if_asked();
    for sample in samples::all() {
        let (kind, payload, decoded) = read_golden(&golden_file(sample.link, sample.name));
        let message = support::decode_twice(sample.link, kind, &payload);
        assert_eq!(message.as_ref(), Ok(&sample.message), "{}", sample.name);
        assert_eq!(format!("{:#?}", sample.message), decoded, "{}", sample.name);
    }
}

#[test]
fn no_golden_file_is_without_its_sample() {
    write_if_asked();
    let known: BTreeSet<_> = samples::all()
        .iter()
        .map(|sample| golden_file(sample.link, sample.name))
        .collect();
    for link in Link::ALL {
        let folder = crate_folder().join("tests/golden").join(folder(link));
        for entry in fs::read_dir(folder).expect("a folder for each link") {
            let file = entry.expect("readable").path();
            assert!(known.contains(&file), "{} belongs to no sample", file.display());
        }
    }
}

/// The constants of the `kind` modules by the link that uses them, read from the source: so a constant that is
/// added is seen here without being listed.
fn kind_constants() -> BTreeMap<(&'static str, String), u8> {
    let sources = [
        ("worker", include_str!("../src/worker_link.rs")),
        ("client", include_str!("../src/client_link.rs")),
        ("feed", include_str!("../src/feed.rs")),
        ("record", include_str!("../src/record.rs")),
    ];
    let mut constants = BTreeMap::new();
    for (link, source) in sources {
        let (_, module) = source.split_once("pub mod kind {").expect("a module of kinds");
        let (module, _) = module.split_once("\n}").expect("that ends");
        for line in module
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub const "))
        {
            let (name, value) = line.split_once(": u8 = ").expect("a constant byte");
            let value = value.trim_end_matches(';');
            let value = match value.strip_prefix("0x") {
                Some(digits) => u8::from_str_radix(digits, 16),
                None => value.parse(),
            };
            constants.insert((link, name.to_owned()), value.expect("a byte"));
        }
    }
    assert!(constants.len() >= 49, "found only {} kinds", constants.len());
    constants
}

fn link_name(link: Link) -> &'static str {
    match link {
        Link::WorkerToEngine | Link::EngineToWorker => "worker",
        Link::ClientToEngine | Link::EngineToClient => "client",
        Link::SubscriberToEngine | Link::EngineToSubscriber => "feed",
        Link::Record => "record",
    }
}

#[test]
fn every_kind_constant_has_a_golden_file_under_its_name_and_value() {
    let golden: BTreeMap<_, _> = samples::all()
        .iter()
        .map(|sample| {
            let kind = sample
                .name
                .split('.')
                .next()
                .expect("a name")
                .to_uppercase()
                .replace('-', "_");
            ((link_name(sample.link), kind), sample.message.encode().0)
        })
        .collect();
    assert_eq!(golden, kind_constants());
}

#[test]
fn no_kind_byte_means_two_things_on_one_link() {
    let mut seen = BTreeMap::new();
    for ((link, name), value) in kind_constants() {
        let other = seen.insert((link, value), name.clone());
        assert_eq!(other, None, "{link} {name} has the value of another kind");
    }
}

/// The manual's tables have a row `| 0x42 | FINISHED | …` for each kind, under a heading that names the link.
#[test]
fn the_manual_lists_every_kind_with_its_value() {
    let manual = fs::read_to_string(crate_folder().join("../../docs/protocol.md")).expect("the manual");
    let mut link = "";
    let mut listed = BTreeMap::new();
    for line in manual.lines() {
        link = match line {
            "## The worker link" => "worker",
            "## The client link" => "client",
            "## The feed" => "feed",
            "## Journal records" => "record",
            line if line.starts_with("## ") => "",
            _ => link,
        };
        let cells: Vec<_> = line
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        if let ["", value, name, ..] = cells[..]
            && let Some(digits) = value.strip_prefix("0x")
            && !link.is_empty()
        {
            let value = u8::from_str_radix(digits, 16).expect("a byte");
            let twice = listed.insert((link, name.to_owned()), value);
            assert_eq!(twice, None, "{name} is listed twice");
        }
    }
    assert_eq!(listed, kind_constants());
}

#[test]
fn the_fuzz_target_has_a_seed_for_every_kind() {
    write_if_asked();
    let seeds = seeds();
    assert_eq!(seeds.len(), kind_constants().len());
    for (file, seed) in seeds {
        let committed = fs::read(&file)
            .unwrap_or_else(|error| panic!("{}: {error}; see the top of golden.rs", file.display()));
        assert_eq!(committed, seed, "{} is out of date", file.display());
        let (kind, payload, _) = frame::split_first(&seed[1..])
            .expect("within bounds")
            .expect("a frame");
        assert!(Message::decode(Link::ALL[usize::from(seed[0])], kind, payload).is_ok());
    }
}
