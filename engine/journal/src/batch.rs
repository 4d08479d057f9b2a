//! Records on their way to disk, collected in the layout that they will have there.
//!
//! The thread that makes records pushes them (a copy, nothing else); the journal thread gives them their
//! positions, checksums and hash when it appends. A batch is one buffer, so handing it over and
//! getting an empty one back is a swap of three words.

use crate::format::{
    BATCH_HEADER_BYTES, BatchHash, BatchHeader, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, SECTOR_BYTES,
    begin_record, complete_record, mask, padded,
};
use crate::sectors::SectorBytes;
use wire_protocol::ids::{Epoch, Lsn, Shard};

/// A reusable buffer of records that will be committed together.
#[derive(Debug)]
pub struct RecordBatch {
    /// Room for the batch header, then the records.
    buffer: SectorBytes,
    records: u32,
}

impl Default for RecordBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: SectorBytes::zeros(BATCH_HEADER_BYTES),
            records: 0,
        }
    }

    /// Adds a record at the end: a copy of `payload` and 24 bytes.
    ///
    /// # Panics
    /// If the payload is longer than [`PAYLOAD_BYTES_MAX`], or the batch would pass 4 GiB: both are
    /// bounds that the caller keeps.
    pub fn push(&mut self, kind: u8, payload: &[u8]) {
        assert!(
            payload.len() <= PAYLOAD_BYTES_MAX,
            "a payload of {} bytes",
            payload.len()
        );
        let len = u32::try_from(payload.len()).expect("bounded above");
        let bytes = self.buffer.len() + RECORD_HEADER_BYTES + payload.len() + SECTOR_BYTES;
        assert!(u32::try_from(bytes).is_ok(), "a batch of {bytes} bytes");
        self.buffer.extend_from_slice(&begin_record(kind, len));
        self.buffer.extend_from_slice(payload);
        self.records += 1;
    }

    /// Adds the records of another batch at the end, a copy of its bytes; neither was committed.
    pub fn extend(&mut self, other: &Self) {
        self.buffer.extend_from_slice(&other.buffer[BATCH_HEADER_BYTES..]);
        self.records += other.records;
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.truncate(BATCH_HEADER_BYTES);
        self.records = 0;
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.records
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes that the batch takes on disk: header, records and padding to whole sectors. What
    /// [`Journal::batch_bytes_max`](crate::Journal::batch_bytes_max) bounds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        padded(self.buffer.len() as u64)
    }

    /// Completes the batch in place: positions, checksums, padding, header, mask. Returns its hash.
    /// The payload is read once by CRC, once by the mask and once by BLAKE3.
    pub(crate) fn encode(&mut self, place: Place) -> BatchHash {
        let Place {
            first,
            wall_us,
            epoch,
            shard,
            prev,
        } = place;
        let body_bytes = self.buffer.len() - BATCH_HEADER_BYTES;
        let (mut at, mut body_crc, mut lsn) = (BATCH_HEADER_BYTES, 0, first);
        for _ in 0..self.records {
            let (bytes, crc) = complete_record(&mut self.buffer[at..], lsn, epoch);
            body_crc = crc32c::crc32c_append(body_crc, &crc.to_le_bytes());
            (at, lsn) = (at + bytes, lsn.next());
        }
        debug_assert_eq!(at, self.buffer.len(), "the records fill the batch");
        self.buffer
            .resize_with_zeros(self.buffer.len().next_multiple_of(SECTOR_BYTES));
        mask(&mut self.buffer[BATCH_HEADER_BYTES..], &prev);
        let header = BatchHeader {
            body_crc,
            first,
            wall_us,
            records: self.records,
            body_bytes: u32::try_from(body_bytes).expect("checked by push"),
            epoch,
            shard,
            seal: false,
            prev,
        };
        header.encode_into(&mut self.buffer);
        BatchHash::of(&self.buffer)
    }

    /// The bytes to write, after `encode`.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.buffer
    }

    /// The same with zeros behind them, `bytes` in all.
    pub(crate) fn encoded_with_zeros(&mut self, bytes: usize) -> &[u8] {
        self.buffer.resize_with_zeros(bytes.max(self.buffer.len()));
        &self.buffer
    }
}

/// Where a batch goes: its place in the order of all batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) first: Lsn,
    pub(crate) wall_us: u64,
    pub(crate) epoch: Epoch,
    pub(crate) shard: Shard,
    pub(crate) prev: BatchHash,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BatchView, SECTOR, Sector};
    use proptest::prelude::*;

    fn place(first: u64) -> Place {
        let shard = Shard(3);
        Place {
            first: Lsn(first),
            wall_us: 42,
            epoch: Epoch(7),
            shard,
            prev: BatchHash::genesis(shard),
        }
    }

    fn encoded(records: &[(u8, Vec<u8>)], first: u64) -> Vec<u8> {
        let mut batch = RecordBatch::new();
        for (kind, payload) in records {
            batch.push(*kind, payload);
        }
        let bytes = batch.bytes();
        batch.encode(place(first));
        assert_eq!(batch.encoded().len() as u64, bytes, "bytes() is what is written");
        batch.encoded().to_vec()
    }

    fn decoded(mut bytes: Vec<u8>) -> Option<Vec<(u64, u8, Vec<u8>)>> {
        let header = BatchHeader::decode(&bytes)?;
        if header.padded_bytes() != bytes.len() as u64 {
            return None;
        }
        let view = BatchView::check(header, 0, &mut bytes).ok()?;
        Some(
            view.records()
                .map(|r| (r.lsn.0, r.kind, r.payload.to_vec()))
                .collect(),
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            records in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..700)), 1..20),
            first in 1..u64::MAX / 2,
        ) {
            let expected: Vec<_> =
                (first..).zip(&records).map(|(lsn, (kind, payload))| (lsn, *kind, payload.clone())).collect();
            prop_assert_eq!(decoded(encoded(&records, first)), Some(expected));
        }

        #[test]
        fn no_change_of_any_byte_goes_unnoticed(
            records in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 1..6),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let mut bytes = encoded(&records, 1);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(decoded(bytes), None);
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(
            records in 0..4_u32, body_bytes in 0..900_u32, bytes in prop::collection::vec(any::<u8>(), 1024)
        ) {
            let Place { first, wall_us, epoch, shard, prev } = place(1);
            let header =
                BatchHeader { body_crc: 0, first, wall_us, records, body_bytes, epoch, shard, seal: false, prev };
            let mut bytes = bytes;
            bytes.truncate(usize::try_from(header.padded_bytes()).unwrap());
            prop_assert!(BatchView::check(header, 0, &mut bytes).is_err());
        }
    }

    #[test]
    fn two_batches_in_one_are_as_if_all_had_been_pushed_to_one() {
        let (mut one, mut other, mut all) = (RecordBatch::new(), RecordBatch::new(), RecordBatch::new());
        one.push(1, b"first");
        other.push(2, b"second");
        other.push(3, b"");
        for (kind, payload) in [(1, &b"first"[..]), (2, b"second"), (3, b"")] {
            all.push(kind, payload);
        }
        one.extend(&other);
        assert_eq!((one.len(), one.bytes()), (3, all.bytes()));
        one.encode(place(1));
        all.encode(place(1));
        assert_eq!(one.encoded(), all.encoded());
    }

    #[test]
    fn no_sector_of_a_batch_looks_unwritten_even_if_the_payload_is_zeros() {
        let bytes = encoded(&[(1, vec![0; 5_000]), (2, Vec::new()), (3, vec![0; 1])], 1);
        assert_eq!(bytes.len() as u64 % SECTOR, 0);
        for sector in bytes.chunks(SECTOR_BYTES) {
            assert_eq!(Sector::of(sector), Sector::Written);
        }
    }

    #[test]
    fn a_cleared_batch_starts_over() {
        let mut batch = RecordBatch::new();
        batch.push(1, b"gone");
        batch.clear();
        assert!(batch.is_empty());
        batch.push(2, b"kept");
        batch.encode(place(9));
        assert_eq!(
            decoded(batch.encoded().to_vec()),
            Some(vec![(9, 2, b"kept".to_vec())])
        );
    }

    #[test]
    fn golden_bytes_of_a_batch_stay_what_they_are() {
        let bytes = encoded(&[(0xAB, b"golden".to_vec())], 5);
        let hex = |range: core::ops::Range<usize>| -> String {
            bytes[range].iter().map(|b| format!("{b:02x}")).collect()
        };
        assert_eq!(hex(0..8), "506f6f6c4261740a");
        assert_eq!(hex(16..48), GOLDEN_HEADER);
        assert_eq!(format!("{:?}", BatchHash::of(&bytes)), GOLDEN_HASH);
    }

    const GOLDEN_HEADER: &str = "05000000000000002a00000000000000010000001e0000000700000003000000";
    const GOLDEN_HASH: &str = "cfd9265e";
}
