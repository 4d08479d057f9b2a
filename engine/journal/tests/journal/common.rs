//! A journal under test and the oracle that remembers every promise made for it.

use engine_journal::{
    Config, FaultStorage, Headroom, Journal, JournalError, RecordBatch, RecordView, Recovery, Retained,
    Upkeep,
};
use std::sync::Arc;
use wire_protocol::ids::{Lsn, Shard};

/// A wall clock for tests: what is given to append, and what must come back.
pub(crate) const WALL_US: u64 = 1_700_000_000_000_000;

pub(crate) fn config() -> Config {
    Config {
        shard: Shard(1),
        segment_bytes: 4096,
        reserve_segments: 1,
        ahead_segments: 1,
        intake_margin_bytes: 2048,
        bytes_max: None,
    }
}

pub(crate) fn open(storage: &FaultStorage) -> Result<(Journal, Recovery), JournalError> {
    Journal::open(Arc::new(storage.clone()), config())
}

/// Opens and begins an epoch.
pub(crate) fn start(storage: &FaultStorage) -> Journal {
    let (mut journal, _) = open(storage).expect("opens");
    journal.begin_epoch();
    journal
}

pub(crate) fn append(journal: &mut Journal, payloads: &[Vec<u8>]) -> Result<Lsn, JournalError> {
    let mut batch = RecordBatch::new();
    for payload in payloads {
        batch.push(kind_of(payload), payload);
    }
    let first = journal.next_lsn();
    journal.append(&mut batch, first, WALL_US + first.0)
}

pub(crate) fn kind_of(payload: &[u8]) -> u8 {
    payload.first().copied().unwrap_or(0xEE)
}

/// `count` payloads of about `bytes` each that no other call with another `salt` gives.
pub(crate) fn payloads(salt: u64, count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut coin = fastrand::Rng::with_seed(salt);
    (0..count)
        .map(|_| {
            let len = coin.usize(bytes / 2..=bytes);
            // Long runs of zeros are the hard case for telling torn from damaged.
            let dull = coin.bool();
            (0..len).map(|_| if dull { 0 } else { coin.u8(..) }).collect()
        })
        .collect()
}

/// All records that the journal still has, through replay and through the reader; both must agree.
pub(crate) fn records(journal: &Journal, recovery: &Recovery) -> Vec<(Lsn, Vec<u8>)> {
    try_records(journal, recovery).expect("what was opened can be read")
}

fn try_records(journal: &Journal, recovery: &Recovery) -> Result<Vec<(Lsn, Vec<u8>)>, JournalError> {
    let mut replayed = Vec::new();
    recovery.replay(
        |RecordView {
             lsn,
             kind,
             payload,
             wall_us,
             ..
         }| {
            assert_eq!(kind, kind_of(payload));
            assert!(
                wall_us > WALL_US && wall_us <= WALL_US + lsn.0,
                "the clock of the batch"
            );
            replayed.push((lsn, payload.to_vec()));
            Ok::<_, JournalError>(())
        },
    )?;
    let after = recovery.snapshot.as_ref().map_or(Lsn(0), |snapshot| snapshot.lsn);
    let read = journal.reader().read_after(after, Lsn(u64::MAX), usize::MAX)?;
    let read: Vec<_> = read
        .iter()
        .map(|record| (record.lsn, record.payload.to_vec()))
        .collect();
    assert_eq!(read, replayed);
    Ok(replayed)
}

/// What has been acknowledged, and what may be there without having been.
#[derive(Default, Clone, Debug)]
pub(crate) struct Oracle {
    acked: Vec<Vec<u8>>,
    in_flight: Vec<Vec<u8>>,
}

impl Oracle {
    /// Appends and remembers.
    pub(crate) fn append(
        &mut self,
        journal: &mut Journal,
        payloads: Vec<Vec<u8>>,
    ) -> Result<(), JournalError> {
        match append(journal, &payloads) {
            Ok(last) => {
                self.acked.extend(payloads);
                assert_eq!(last.0, self.acked.len() as u64);
                Ok(())
            }
            Err(error) => {
                self.in_flight = payloads;
                Err(error)
            }
        }
    }

    /// The state that a snapshot after `lsn` holds.
    fn state(&self, lsn: Lsn) -> Vec<u8> {
        let upto = usize::try_from(lsn.0).expect("small");
        self.acked[..upto]
            .iter()
            .flat_map(|payload| crc(payload).to_le_bytes())
            .collect()
    }

    pub(crate) fn snapshot(&self, journal: &Journal, lsn: Lsn) -> Result<(), JournalError> {
        let anchor = journal.reader().anchor(lsn)?.expect("durable");
        let state = self.state(lsn);
        journal
            .snapshot_writer()
            .write(anchor, |sink| sink.write_all(&state))
    }

    /// Checks what a start found: all that was acknowledged, perhaps the batch in flight as a whole, and
    /// nothing else. What is there counts as acknowledged from now on.
    pub(crate) fn check(&mut self, journal: &Journal, recovery: &Recovery) {
        self.try_check(journal, recovery)
            .expect("what was opened can be read");
    }

    /// The same while calls may fail.
    pub(crate) fn try_check(&mut self, journal: &Journal, recovery: &Recovery) -> Result<(), JournalError> {
        let found = try_records(journal, recovery)?;
        let base = recovery.snapshot.as_ref().map_or(0, |snapshot| snapshot.lsn.0);
        let mut expected = self.acked.clone();
        let last = journal.durable_lsn().0;
        if last != self.acked.len() as u64 {
            expected.append(&mut self.in_flight);
        }
        assert_eq!(
            last,
            expected.len() as u64,
            "neither all that was promised nor that and the batch in flight"
        );
        let numbered: Vec<_> = (1..)
            .map(Lsn)
            .zip(expected.iter().cloned())
            .skip_while(|(lsn, _)| lsn.0 <= base)
            .collect();
        assert_eq!(found, numbered);
        self.acked = expected;
        self.in_flight.clear();
        if let Some(snapshot) = &recovery.snapshot {
            assert_eq!(
                snapshot.bytes,
                self.state(snapshot.lsn),
                "the snapshot is the one that was written"
            );
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> u64 {
        self.acked.len() as u64
    }
}

fn crc(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Lets the janitor work until it has nothing to do.
pub(crate) fn tidy(journal: &Journal) -> Result<Upkeep, JournalError> {
    let mut janitor = journal.janitor();
    loop {
        match janitor.step()? {
            Upkeep::Working => {}
            other => return Ok(other),
        }
    }
}

pub(crate) fn retain(journal: &Journal, lsn: Lsn) -> Result<Retained, JournalError> {
    let mut janitor = journal.janitor();
    let retained = janitor.retain_from(lsn)?;
    while janitor.step()? == Upkeep::Working {}
    Ok(retained)
}

pub(crate) fn damaged(error: JournalError) -> (String, u64, String) {
    match error {
        JournalError::Damaged { file, offset, what } => (file, offset, what),
        other => panic!("expected damage, got: {other}"),
    }
}

pub(crate) fn segments(storage: &FaultStorage) -> Vec<String> {
    storage
        .names()
        .into_iter()
        .filter(|name| name.starts_with("journal-") && name.ends_with(".seg"))
        .collect()
}

/// Changes a file durably.
pub(crate) fn change(storage: &FaultStorage, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = storage.content(name).expect("exists");
    change(&mut content);
    storage.plant(name, content);
}

pub(crate) fn intake_ok(journal: &Journal) -> bool {
    let Headroom { intake_ok, .. } = journal.headroom();
    intake_ok
}
