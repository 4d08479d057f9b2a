//! What a record costs on its way to the disk and back, without the disk.

use engine_journal::{Config, FaultStorage, Journal, OneByOne, RecordBatch, Shown};
use std::hint::black_box;
use std::sync::Arc;

/// Records of a batch.
const BATCH: u64 = 64;
/// Bytes of a record: about what one tells of a single work.
const PAYLOAD: [u8; 48] = [0x5A; 48];
/// Records of the journal that is verified again and again.
const RECORDS: u64 = 4 * 1_024;
/// More than are appended in one run; making the segment must cost the same in each.
const APPENDED_MAX: u64 = 64 * 1_024;

/// Bytes of a batch on disk: header, 64 records with their headers, padding.
const BATCH_BYTES: u64 = (80 + BATCH * (24 + PAYLOAD.len() as u64)).next_multiple_of(512);

/// A folder in memory. Its one segment takes so many records, so that a roll-over does not count, and little more,
/// because its empty part is verified too.
fn storage(records: u64) -> (Arc<FaultStorage>, Config) {
    let config = Config {
        segment_bytes: records / BATCH * BATCH_BYTES + 2 * 512,
        ..Config::default()
    };
    (Arc::new(FaultStorage::new(1)), config)
}

fn fill(journal: &mut Journal, records: u64) {
    let mut batch = RecordBatch::new();
    for _ in 0..records / BATCH {
        (0..BATCH).for_each(|_| batch.push(1, black_box(&PAYLOAD)));
        let first = journal.next_lsn();
        journal.append(&mut batch, first, 0).expect("memory takes it");
    }
}

/// Pushes, sums, masks, hashes and copies batches.
pub(crate) fn append(records: u64) {
    let (storage, config) = storage(APPENDED_MAX);
    let (mut journal, _) = Journal::open(storage, config).expect("an empty folder");
    journal.begin_epoch();
    fill(&mut journal, records);
}

/// Opens a journal as often as it takes to verify so many records, and looks at each.
pub(crate) fn verify(records: u64) {
    let (storage, config) = storage(RECORDS);
    let (mut journal, _) = Journal::open(storage.clone(), config.clone()).expect("an empty folder");
    journal.begin_epoch();
    fill(&mut journal, RECORDS);
    drop(journal);
    for _ in 0..records / RECORDS {
        let mut look = |shown: Shown<'_>| {
            if let Shown::Records(block) = shown {
                block.records().for_each(|record| _ = black_box(record));
            }
        };
        Journal::open_and_show(storage.clone(), config.clone(), &OneByOne, &mut look).expect("opens");
    }
}
