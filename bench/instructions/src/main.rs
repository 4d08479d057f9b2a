//! Runs one hot path a given number of times, for `cargo xtask callgrind` to count its instructions.
//!
//! ```text
//! bench-instructions                    the names of the paths, with the operations of a short run
//! bench-instructions <path> <count>     runs the path `count` times
//! ```
//!
//! Whoever counts runs a path twice, the second time with twice as many operations, and takes the difference: what a
//! path needs before its first operation is in both runs and cancels out. So setting up must not depend on the count.

mod journal;
mod links;
#[path = "../../../engine/core/benches/pool/mod.rs"]
mod pool;

use pool::{Grid, Pool, grid};
use std::process::ExitCode;
use wire_protocol::resources::Packing;

/// Something that every work, record or item passes.
struct HotPath {
    name: &'static str,
    /// Operations of a short run: some ten milliseconds without valgrind.
    count: u64,
    run: fn(u64),
}

const PATHS: &[HotPath] = &[
    HotPath {
        name: "scheduler: a work, 8 workers × 64",
        count: 64 * 1_024,
        run: |works| Pool::new(&grid(8, 64, 128, 1, 100_000)).run(works),
    },
    HotPath {
        name: "scheduler: a work, 1000 workers × 4",
        count: 64 * 1_024,
        run: |works| Pool::new(&grid(1_000, 4, 8, 1, 100_000)).run(works),
    },
    HotPath {
        name: "scheduler: a work, 8 workers × 64 that pack",
        count: 64 * 1_024,
        run: |works| {
            let packing = Packing::Resources;
            let size = Grid {
                packing,
                ..grid(8, 64, 128, 1, 100_000)
            };
            Pool::new(&size).run(works);
        },
    },
    HotPath {
        name: "codec: a work's assignment, both ways",
        count: 64 * 1_024,
        run: links::assign,
    },
    HotPath {
        name: "codec: a work's report, both ways",
        count: 64 * 1_024,
        run: links::report,
    },
    HotPath {
        name: "journal: a record appended, 64 a batch",
        count: 16 * 1_024,
        run: journal::append,
    },
    HotPath {
        name: "journal: a record verified and shown, 64 a batch",
        count: 64 * 1_024,
        run: journal::verify,
    },
    HotPath {
        name: "ring: an item pushed and popped",
        count: 256 * 1_024,
        run: links::ring,
    },
    HotPath {
        name: "ring: an item pushed and popped, 64 at a time",
        count: 256 * 1_024,
        run: links::ring_in_batches,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            for path in PATHS {
                println!("{}\t{}", path.count, path.name);
            }
        }
        [name, count] => {
            let path = PATHS.iter().find(|path| path.name == name);
            let (Some(path), Ok(count)) = (path, count.parse()) else {
                eprintln!("there is no path {name:?}, or {count:?} is no number");
                return ExitCode::FAILURE;
            };
            (path.run)(count);
        }
        _ => {
            eprintln!("usage: bench-instructions [<path> <count>]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
