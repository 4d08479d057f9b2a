//! All content, hashed again: what a disk or a person has changed behind the store's back.

use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::io;
use wire_protocol::file::Digest;

use crate::backend::Backend;
use crate::reference::Reference;

/// What was found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// References that were read.
    pub files: u64,
    /// Contents that were hashed.
    pub contents: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Content that is not what its name says.
    pub damaged: Vec<Damaged>,
    /// Files whose content is not there.
    pub missing: Vec<Reference>,
    /// Content that no file has, and its bytes. A store that is open removes it; so does the next start.
    pub unreferenced: Vec<(Digest, u64)>,
    /// What lies in the store and is no part of it, by its path.
    pub strange: Vec<String>,
}

/// Content that is not what its name says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damaged {
    /// What it should be.
    pub digest: Digest,
    /// What is wrong.
    pub problem: String,
    /// Files that have it.
    pub files: Vec<Reference>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Bytes of all contents.
    pub bytes_total: u64,
}

impl Report {
    /// Whether every file can be had as it was stored.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty()
    }
}

/// Hashes all content and compares it with its names and with the references. It changes nothing, and a store may be open
/// meanwhile: what is removed while it reads is not taken for lost.
///
/// # Errors
/// The folder or bucket cannot be listed or asked.
pub async fn verify(backend: &Backend, progress: &mut (dyn FnMut(Progress) + Send)) -> io::Result<Report> {
    let inventory = backend.inventory().await?;
    let mut users: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
    for reference in inventory.references {
        users.entry(reference.digest).or_default().push(reference);
    }
    let mut report = Report {
        files: users.values().map(|files| files.len() as u64).sum(),
        strange: inventory.strange,
        ..Report::default()
    };
    let bytes_total = inventory.contents.iter().map(|(_, bytes)| bytes).sum();
    for (digest, bytes) in inventory.contents {
        let files = users.remove(&digest);
        let told = report.bytes;
        let mut tell = |bytes| {
            progress(Progress {
                bytes: told + bytes,
                bytes_total,
            });
        };
        let problem = look(backend, digest, bytes, &mut tell).await;
        report.contents += 1;
        report.bytes += bytes;
        // What was removed meanwhile was not damaged.
        if let Some(problem) = problem
            && backend.has(digest).await?.is_some()
        {
            report.damaged.push(Damaged {
                digest,
                problem,
                files: files.clone().unwrap_or_default(),
            });
        }
        if files.is_none() {
            report.unreferenced.push((digest, bytes));
        }
    }
    for file in users.into_values().flatten() {
        if backend.again(&file).await?.as_ref() == Some(&file) && backend.has(file.digest).await?.is_none() {
            report.missing.push(file);
        }
    }
    Ok(report)
}

/// What is wrong with content.
async fn look(
    backend: &Backend,
    digest: Digest,
    bytes: u64,
    told: &mut (dyn FnMut(u64) + Send),
) -> Option<String> {
    let mut pieces = match backend.read(digest, 0..bytes).await {
        Ok(pieces) => pieces,
        Err(error) => return Some(format!("it cannot be read: {error}")),
    };
    let (mut hash, mut read) = (Context::new(&SHA256), 0);
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => {
                hash.update(&piece);
                read += piece.len() as u64;
                told(read);
            }
            Err(error) => return Some(format!("it cannot be read at byte {read}: {error}")),
        }
    }
    let found = Digest(hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"));
    (found != digest).then(|| format!("its hash is {found}"))
}
