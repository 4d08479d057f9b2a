//! Reports of attempts that ended, kept in a file until the engine has recorded them, so that a worker that is killed and
//! started again still makes them.
//!
//! ```text
//!  folder/reports    length u32 │ CRC32C u32 │ report, as in a FINISHED frame │ length …
//! ```
//!
//! A report is appended when its attempt ends: one write, no sync. What is written survives the worker; a machine that
//! loses its power may lose it, and then the lease runs out and the work is done again, as it is without this file. What
//! cannot be read is where the file ends. It is emptied when nothing in it is waited for, and written anew when it has
//! become long: many works do not make it grow.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wire_protocol::ids::LeaseToken;
use wire_protocol::limits::RESULT_BYTES_MAX;
use wire_protocol::worker_link::{Report, Reports};

use super::Ended;

/// Bytes of the file above which it is written anew with what is still waited for.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The file, and what is in it that is still waited for.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    len: u64,
    /// As they stand in the file.
    items: HashMap<LeaseToken, Vec<u8>>,
}

impl Kept {
    /// Opens the file, and reads what an earlier worker left in it.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (items, whole) = read(&bytes);
        let file = File::options().create(true).append(true).open(&path)?;
        // What comes now must not stand behind what cannot be read.
        file.set_len(whole)?;
        let len = whole;
        Ok(Self {
            path,
            inner: Mutex::new(Inner { file, len, items }),
        })
    }

    /// Keeps how an attempt ended, unless it does already.
    pub(crate) fn keep(&self, token: LeaseToken, ended: &Ended) {
        let mut inner = self.inner();
        if inner.items.contains_key(&token) {
            return;
        }
        let item = item(&ended.report(token));
        match inner.file.write_all(&item) {
            Ok(()) => {
                inner.len += item.len() as u64;
                inner.items.insert(token, item);
            }
            Err(error) => {
                // Half of it would hide what comes behind it.
                let len = inner.len;
                drop(inner.file.set_len(len));
                tracing::warn!(%error, file = %self.path.display(), "a report cannot be kept");
            }
        }
    }

    pub(crate) fn has(&self, token: LeaseToken) -> bool {
        self.inner().items.contains_key(&token)
    }

    /// What is kept, in the order of the tokens.
    pub(crate) fn each(&self, mut tell: impl FnMut(&Report<'_>)) {
        let inner = self.inner();
        let mut tokens: Vec<_> = inner.items.keys().copied().collect();
        tokens.sort_unstable();
        for token in tokens {
            let reports = Reports::parse(&inner.items[&token][8..]).expect("it was read or written before");
            reports.iter().for_each(|report| tell(&report));
        }
    }

    /// Lets go of what nobody waits for any more.
    pub(crate) fn retain(&self, is_waited_for: impl Fn(LeaseToken) -> bool) {
        let mut inner = self.inner();
        if inner.items.is_empty() {
            return;
        }
        inner.items.retain(|token, _| is_waited_for(*token));
        let result = if inner.items.is_empty() {
            inner.file.set_len(0).map(|()| inner.len = 0)
        } else if inner.len > FILE_BYTES_MAX {
            self.write_anew(&mut inner)
        } else {
            Ok(())
        };
        if let Err(error) = result {
            tracing::warn!(%error, file = %self.path.display(), "reports that are recorded stay kept");
        }
    }

    fn write_anew(&self, inner: &mut Inner) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let bytes: Vec<u8> = inner.items.values().flatten().copied().collect();
        fs::write(&new, &bytes)?;
        fs::rename(&new, &self.path)?;
        inner.file = File::options().append(true).open(&self.path)?;
        inner.len = bytes.len() as u64;
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A report as it stands in the file: behind length and sum the payload of a frame with it alone.
fn item(report: &Report<'_>) -> Vec<u8> {
    let mut item = vec![0; 8];
    item.extend_from_slice(&1_u64.to_le_bytes());
    report.put(&mut item);
    let len = u32::try_from(item.len() - 8).expect("results are bounded");
    let sum = crc32c::crc32c(&item[8..]);
    item[..4].copy_from_slice(&len.to_le_bytes());
    item[4..8].copy_from_slice(&sum.to_le_bytes());
    item
}

/// What can be read, and how many bytes that is.
fn read(bytes: &[u8]) -> (HashMap<LeaseToken, Vec<u8>>, u64) {
    let (mut items, mut rest) = (HashMap::new(), bytes);
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let (len, sum) = head.split_at(4);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four of them"));
        let Some(payload) = behind.get(..number(len) as usize) else {
            break;
        };
        let token = (crc32c::crc32c(payload) == number(sum))
            .then(|| Reports::parse(payload).ok())
            .flatten()
            .and_then(|reports| reports.iter().next())
            .filter(|report| report.result.len() <= RESULT_BYTES_MAX)
            .map(|report| report.token);
        let Some(token) = token else { break };
        let whole = 8 + payload.len();
        items.insert(token, rest[..whole].to_vec());
        rest = &rest[whole..];
    }
    (items, (bytes.len() - rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire_protocol::ids::{Attempt, Epoch, Shard, WorkId};
    use wire_protocol::outcome::Reason;

    use super::*;

    fn token(work: u64) -> LeaseToken {
        LeaseToken {
            work: WorkId(work),
            epoch: Epoch(1),
            attempt: Attempt(1),
            shard: Shard(0),
        }
    }

    fn ended(result: &[u8]) -> Ended {
        Ended {
            reason: Reason::ExitCode,
            exit_code: 3,
            elapsed: Duration::from_micros(7),
            result: result.to_vec(),
        }
    }

    fn told(kept: &Kept) -> Vec<(u64, i32, Vec<u8>)> {
        let mut told = Vec::new();
        kept.each(|report| told.push((report.token.work.0, report.exit_code, report.result.to_vec())));
        told
    }

    #[test]
    fn what_is_kept_is_there_again_until_it_is_let_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports");
        let kept = Kept::open(path.clone()).expect("own folder");
        kept.keep(token(2), &ended(b"two"));
        kept.keep(token(1), &ended(b""));
        kept.keep(token(2), &ended(b"another"));
        let all = [(1, 3, b"".to_vec()), (2, 3, b"two".to_vec())];
        assert_eq!(told(&kept), all);
        let again = Kept::open(path.clone()).expect("own folder");
        assert_eq!(told(&again), all);
        again.retain(|token| token.work.0 == 2);
        assert_eq!(told(&again), all[1..]);
        again.retain(|_| false);
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 0);
        again.keep(token(3), &ended(b"three"));
        assert_eq!(
            told(&Kept::open(path).expect("own folder")),
            [(3, 3, b"three".to_vec())]
        );
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_gives_whole_reports_and_takes_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports");
        let kept = Kept::open(path.clone()).expect("own folder");
        kept.keep(token(1), &ended(b"one"));
        kept.keep(token(2), &ended(b"two"));
        let bytes = fs::read(&path).expect("it is there");
        let zeros = [bytes.clone(), vec![0; 100]].concat();
        let cut = (0..bytes.len()).map(|end| bytes[..end].to_vec());
        let flipped = (0..bytes.len()).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            bytes
        });
        for bytes in cut.chain(flipped).chain([zeros]) {
            fs::write(&path, bytes).expect("own folder");
            let kept = Kept::open(path.clone()).expect("own folder");
            for (work, exit_code, result) in told(&kept) {
                assert_eq!(
                    (exit_code, &result[..]),
                    (3, if work == 1 { b"one" } else { b"two" } as &[u8])
                );
            }
            kept.keep(token(9), &ended(b"nine"));
            let again = told(&Kept::open(path.clone()).expect("own folder"));
            assert_eq!(again.last().map(|(work, ..)| *work), Some(9), "{again:?}");
        }
    }

    #[test]
    fn a_file_that_has_become_long_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports");
        let kept = Kept::open(path.clone()).expect("own folder");
        for work in 1..=300 {
            kept.keep(token(work), &ended(&[7; 60_000]));
            kept.retain(|token| token.work.0 == 1 || token.work.0 == work);
        }
        assert!(fs::metadata(&path).expect("it is there").len() < FILE_BYTES_MAX + 70_000);
        assert_eq!(told(&Kept::open(path).expect("own folder"))[0].0, 1);
    }
}
