//! A buffer that slides over a file, so that reading forward costs few calls and no copy.

use crate::format::ZEROS;
use crate::storage::{File, read_exact_at};
use std::io;

pub(crate) struct Window<'a> {
    file: &'a dyn File,
    /// Length of the file, which does not change.
    size: u64,
    /// Bytes to read at once.
    chunk: usize,
    start: u64,
    len: usize,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn File, size: u64, chunk: usize) -> Self {
        Self {
            file,
            size,
            chunk,
            start: 0,
            len: 0,
            buffer: Vec::new(),
        }
    }

    /// The bytes from `at` on. Changes to them last until the window moves or is
    /// [forgotten](Self::forget).
    ///
    /// # Panics
    /// If they are not all inside the file: what a header says about lengths is checked before.
    pub(crate) fn get(&mut self, at: u64, len: usize) -> io::Result<&mut [u8]> {
        assert!(
            at + len as u64 <= self.size,
            "{len} bytes at {at} of a file of {}",
            self.size
        );
        if at < self.start || at + len as u64 > self.start + self.len as u64 {
            let left = usize::try_from(self.size - at).unwrap_or(usize::MAX);
            let want = self.chunk.min(left).max(len);
            if self.buffer.len() < want {
                self.buffer.resize(want, 0);
            }
            self.len = 0;
            read_exact_at(self.file, at, &mut self.buffer[..want])?;
            (self.start, self.len) = (at, want);
        }
        let from = usize::try_from(at - self.start).expect("inside the buffer");
        Ok(&mut self.buffer[from..from + len])
    }

    /// Lets the next look go to the file again.
    pub(crate) fn forget(&mut self) {
        self.len = 0;
    }

    /// The first place from `at` on that is not zero, rounded down to `step` from `at`; `None` if all is zero.
    pub(crate) fn skip_zeros(&mut self, mut at: u64, step: usize) -> io::Result<Option<u64>> {
        while at < self.size {
            let left = usize::try_from(self.size - at).unwrap_or(usize::MAX);
            let len = left.min(self.chunk).min(ZEROS.len());
            let bytes = self.get(at, len)?;
            if bytes != &ZEROS[..len] {
                let nth = bytes
                    .chunks(step)
                    .position(|chunk| chunk != &ZEROS[..chunk.len()]);
                return Ok(nth.map(|nth| at + (nth * step) as u64));
            }
            at += len as u64;
        }
        Ok(None)
    }
}
