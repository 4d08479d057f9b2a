//! Rows of a bag: the parameters of its works.
//!
//! They came in chunks, each by one record of the journal, and a chunk stays in memory while one of its works may
//! still be given to a worker. When all have succeeded, which nothing can undo, its bytes go: whoever asks for them
//! later is answered from the journal, as for results. So memory and snapshots hold what is left to do, and not what
//! was done.

use wire_protocol::codec::Reader;
use wire_protocol::ids::Lsn;
use wire_protocol::limits::ROW_BYTES_MAX;
use wire_protocol::template::Rows;

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct RowStore {
    chunks: Vec<Chunk>,
    len: u32,
    /// The chunk that was looked at last: works that ran together end together.
    recent: usize,
}

/// A row, or where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Row<'a> {
    Here(&'a [u8]),
    /// In the record at this position.
    Recorded(Lsn),
}

/// Rows that came together.
#[derive(Debug)]
struct Chunk {
    first_row: u32,
    len: u32,
    /// Rows whose works have not succeeded.
    needed: u32,
    /// The record that they came by. `Lsn(0)`: it is not known, and the rows stay.
    lsn: Lsn,
    /// Where each row begins; nothing once the rows have gone.
    offsets: Box<[u32]>,
    /// The encoded rows.
    bytes: Box<[u8]>,
}

/// A chunk as a snapshot has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkView<'a> {
    pub(crate) rows: u32,
    pub(crate) lsn: Lsn,
    /// `None`: they have gone.
    pub(crate) bytes: Option<&'a [u8]>,
}

impl RowStore {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of memory that rows like these take.
    pub(crate) fn memory_bytes(rows: Rows<'_>) -> u64 {
        rows.encoded().len() as u64 + 4 * u64::from(rows.len())
    }

    /// Bytes of memory that all rows take now.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.chunks.iter().map(Chunk::memory_bytes).sum()
    }

    /// Rows came by the record at `lsn`.
    pub(crate) fn push(&mut self, rows: Rows<'_>, lsn: Lsn) {
        if rows.is_empty() {
            return;
        }
        let bytes: Box<[u8]> = rows.encoded().into();
        let base = bytes.as_ptr() as usize;
        let mut offsets = Vec::with_capacity(rows.len() as usize);
        let mut reader = Reader::new(&bytes);
        for _ in 0..rows.len() {
            offsets.push(u32::try_from(reader.rest().as_ptr() as usize - base).expect("a chunk is a frame"));
            reader
                .bytes("row", ROW_BYTES_MAX)
                .expect("rows were checked when they were parsed");
        }
        self.add(Chunk {
            first_row: self.len,
            len: rows.len(),
            needed: rows.len(),
            lsn,
            offsets: offsets.into_boxed_slice(),
            bytes,
        });
    }

    /// Rows that came by the record at `lsn` and have gone: their works have all succeeded.
    pub(crate) fn push_gone(&mut self, rows: u32, lsn: Lsn) {
        self.add(Chunk {
            first_row: self.len,
            len: rows,
            needed: 0,
            lsn,
            offsets: Box::default(),
            bytes: Box::default(),
        });
    }

    fn add(&mut self, chunk: Chunk) {
        self.len += chunk.len;
        self.chunks.push(chunk);
    }

    /// The works of `count` rows from this one on have succeeded. Returns the bytes of memory that are free now.
    #[inline]
    pub(crate) fn succeeded(&mut self, row: u32, count: u32) -> u64 {
        let (mut row, end) = (row, row + count);
        let mut freed = 0;
        while row < end {
            self.recent = self.chunk_of(row);
            let chunk = &mut self.chunks[self.recent];
            let upto = end.min(chunk.first_row + chunk.len);
            freed += chunk.succeeded(upto - row);
            row = upto;
        }
        freed
    }

    #[inline]
    fn chunk_of(&self, row: u32) -> usize {
        let recent = self.chunks.get(self.recent);
        if recent.is_some_and(|chunk| chunk.contains(row)) {
            return self.recent;
        }
        self.chunks
            .partition_point(|chunk| chunk.first_row <= row)
            .checked_sub(1)
            .expect("the first chunk begins with row 0")
    }

    pub(crate) fn get(&self, row: u32) -> Option<Row<'_>> {
        if row >= self.len {
            return None;
        }
        let chunk = &self.chunks[self.chunk_of(row)];
        Some(chunk.get(row).map_or(Row::Recorded(chunk.lsn), Row::Here))
    }

    /// The rows from this one on, encoded as they came (length, bytes); those that are asked for have not gone.
    #[inline]
    pub(crate) fn encoded_from(&self, row: u32) -> EncodedRows<'_> {
        let index = self
            .chunks
            .partition_point(|chunk| chunk.first_row <= row)
            .saturating_sub(1);
        let mut chunks = self.chunks[index..].iter();
        let chunk = chunks.next();
        EncodedRows {
            next: chunk.map_or(0, |chunk| (row - chunk.first_row) as usize),
            chunk,
            chunks,
        }
    }

    pub(crate) fn chunks(&self) -> impl ExactSizeIterator<Item = ChunkView<'_>> {
        self.chunks.iter().map(|chunk| ChunkView {
            rows: chunk.len,
            lsn: chunk.lsn,
            bytes: (!chunk.is_gone()).then_some(&*chunk.bytes),
        })
    }

    /// Asserts what must hold; `succeeded` says of a row whether its work has.
    pub(crate) fn check(&self, succeeded: impl Fn(u32) -> bool) {
        for chunk in &self.chunks {
            let rows = chunk.first_row..chunk.first_row + chunk.len;
            let needed = rows.filter(|row| !succeeded(*row)).count();
            assert_eq!(chunk.needed as usize, needed, "rows that are needed: {chunk:?}");
            assert_eq!(!chunk.is_gone(), needed > 0, "needed rows are there: {chunk:?}");
        }
    }
}

/// Rows of a bag one after the other, see [`RowStore::encoded_from`].
pub(crate) struct EncodedRows<'a> {
    chunk: Option<&'a Chunk>,
    /// Index in the chunk.
    next: usize,
    chunks: std::slice::Iter<'a, Chunk>,
}

impl<'a> Iterator for EncodedRows<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let mut chunk = self.chunk?;
        if self.next == chunk.offsets.len() {
            self.chunk = self.chunks.next();
            self.next = 0;
            chunk = self.chunk?;
        }
        let start = chunk.offsets[self.next] as usize;
        self.next += 1;
        let end = chunk
            .offsets
            .get(self.next)
            .map_or(chunk.bytes.len(), |end| *end as usize);
        Some(&chunk.bytes[start..end])
    }
}

impl Chunk {
    fn contains(&self, row: u32) -> bool {
        row.wrapping_sub(self.first_row) < self.len
    }

    fn is_gone(&self) -> bool {
        self.offsets.is_empty()
    }

    fn succeeded(&mut self, count: u32) -> u64 {
        if self.is_gone() {
            return 0;
        }
        self.needed -= count;
        if self.needed > 0 {
            return 0;
        }
        let bytes = self.memory_bytes();
        self.offsets = Box::default();
        self.bytes = Box::default();
        bytes
    }

    fn memory_bytes(&self) -> u64 {
        (self.bytes.len() + 4 * self.offsets.len()) as u64
    }

    fn get(&self, row: u32) -> Option<&[u8]> {
        let offset = *self.offsets.get((row - self.first_row) as usize)? as usize;
        let mut reader = Reader::new(&self.bytes[offset..]);
        Some(reader.bytes("row", ROW_BYTES_MAX).expect("rows are well-formed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::codec::put_bytes;

    fn store(chunks: &[&[&str]]) -> RowStore {
        let mut store = RowStore::default();
        for (index, rows) in chunks.iter().enumerate() {
            let mut bytes = Vec::new();
            rows.iter().for_each(|row| put_bytes(&mut bytes, row.as_bytes()));
            let rows = Rows::parse(rows.len() as u32, &bytes).expect("well-formed");
            store.push(rows, Lsn(10 + index as u64));
        }
        store
    }

    #[test]
    fn a_chunk_goes_when_the_last_of_its_works_has_succeeded() {
        let mut store = store(&[&["a", "bb"], &["ccc"]]);
        let before = store.total_bytes();
        assert_eq!(store.succeeded(1, 1), 0);
        assert_eq!(store.get(1), Some(Row::Here(b"bb")), "its neighbour is needed");
        let freed = store.succeeded(0, 1);
        assert_eq!(store.total_bytes(), before - freed);
        assert_eq!(store.get(0), Some(Row::Recorded(Lsn(10))));
        assert_eq!(store.get(2), Some(Row::Here(b"ccc")));
        assert_eq!(store.get(3), None);
        assert_eq!(store.encoded_from(2).collect::<Vec<_>>(), [b"\x03ccc"]);
        store.check(|row| row < 2);
    }

    #[test]
    fn a_run_reaches_over_chunks() {
        let mut store = store(&[&["a", "bb"], &["ccc"], &["d", "e"]]);
        assert!(store.succeeded(1, 3) > 0, "the middle one goes");
        assert_eq!(store.get(2), Some(Row::Recorded(Lsn(11))));
        assert_eq!(
            (store.get(0), store.get(4)),
            (Some(Row::Here(b"a")), Some(Row::Here(b"e")))
        );
        store.check(|row| (1..4).contains(&row));
    }
}
