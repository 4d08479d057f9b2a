//! Memory: what works that wait cost, and that nothing is left of those that are forgotten.
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use engine_core::{Config, Effects, Event, Scheduler};
use wire_protocol::client_link::{Command, CommandRequest, FromClient, Open, RowsChunk, Selector};
use wire_protocol::codec::put_bytes;
use wire_protocol::frame;
use wire_protocol::ids::{BagId, LinkId};
use wire_protocol::template::{Rows, WorkTemplate};
use wire_protocol::units::{Instant, Millis};

/// Counts the bytes that are allocated now.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the same arguments; the count is beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENT: LinkId = LinkId(1);
const WORKS: u32 = 1_000_000;

fn handle(scheduler: &mut Scheduler, now: Instant, event: Event<'_>) {
    let mut effects = Effects::default();
    scheduler.handle(now, event, &mut effects);
}

/// One test in this file: the count is of the whole process.
#[test]
fn a_million_queued_works_cost_64_megabytes_at_most_and_nothing_once_they_are_forgotten() {
    let mut scheduler = Scheduler::new(Config::default());
    let mut effects = Effects::default();
    let now = Instant(1_000_000);
    scheduler.start(now, &mut effects);
    handle(
        &mut scheduler,
        now,
        Event::ClientJoined {
            link: CLIENT,
            tenant: "alice",
            operator: false,
        },
    );
    let empty = BYTES.load(Ordering::Relaxed);

    let template = WorkTemplate {
        app: "null".to_owned(),
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    };
    let open = Open {
        request: 1,
        key: [1; 16],
        rows_total: WORKS,
        follow: false,
        template,
    };
    handle(
        &mut scheduler,
        now,
        Event::ClientSaid {
            link: CLIENT,
            message: FromClient::Open(Box::new(open)),
        },
    );
    const CHUNK: u32 = 50_000;
    for first in (0..WORKS).step_by(CHUNK as usize) {
        let mut rows = Vec::new();
        (first..first + CHUNK).for_each(|row| put_bytes(&mut rows, &u64::from(row).to_le_bytes()));
        let mut bytes = Vec::new();
        RowsChunk::push(
            &mut bytes,
            1,
            first,
            Rows::parse(CHUNK, &rows).expect("well-formed"),
        );
        let (kind, payload, _) = frame::split_first(&bytes).expect("short").expect("whole");
        let message = FromClient::parse(kind, payload).expect("well-formed");
        handle(
            &mut scheduler,
            now,
            Event::ClientSaid {
                link: CLIENT,
                message,
            },
        );
    }
    assert_eq!(scheduler.counters().works_queued, u64::from(WORKS));
    let cost = BYTES.load(Ordering::Relaxed) - empty;
    println!(
        "a queued work with a row of 8 bytes costs {:.1} bytes",
        cost as f64 / f64::from(WORKS)
    );
    assert!(cost <= 64 * 1024 * 1024, "{cost} bytes for {WORKS} works");
    let said = scheduler.counters().rows_bytes;
    assert!(
        (said as usize) < cost && (said as usize) > cost / 4,
        "it counts {said} bytes of rows"
    );

    let cancel = CommandRequest {
        request: 2,
        command: Command::Cancel(Selector::Bag(BagId(1))),
    };
    handle(
        &mut scheduler,
        now,
        Event::ClientSaid {
            link: CLIENT,
            message: FromClient::Command(cancel),
        },
    );
    handle(
        &mut scheduler,
        now + Millis::from_secs(24 * 3_600 + 1),
        Event::Tick,
    );
    assert_eq!(scheduler.counters().bags, 0);
    let left = BYTES.load(Ordering::Relaxed) - empty;
    assert!(left < 256 * 1024, "{left} bytes are left of {cost}");
}
