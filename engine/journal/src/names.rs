//! Names of the files in a journal's folder.
//!
//! Numbers have 20 digits, so that sorting by name sorts by position.

use wire_protocol::ids::Lsn;

pub(crate) fn segment(first: Lsn) -> String {
    format!("journal-{:020}.seg", first.0)
}

pub(crate) fn snapshot(lsn: Lsn) -> String {
    format!("snapshot-{:020}.snap", lsn.0)
}

/// A snapshot that is being written.
pub(crate) fn snapshot_temporary(lsn: Lsn) -> String {
    format!("snapshot-{:020}.tmp", lsn.0)
}

/// A zeroed file that waits to become a segment.
pub(crate) fn spare(number: u64) -> String {
    format!("spare-{number:020}.seg")
}

/// A file that is being zeroed.
pub(crate) fn spare_temporary(number: u64) -> String {
    format!("spare-{number:020}.tmp")
}

/// Where a damaged file is kept; `nth` tells several of one name apart.
pub(crate) fn damaged(name: &str, nth: usize) -> String {
    if nth == 0 {
        format!("{name}.damaged")
    } else {
        format!("{name}.{nth}.damaged")
    }
}

/// The folder's files, each kind in order.
#[derive(Default, Debug)]
pub(crate) struct Listing {
    pub(crate) segments: Vec<(Lsn, String)>,
    pub(crate) snapshots: Vec<(Lsn, String)>,
    pub(crate) spares: Vec<(u64, String)>,
    /// Left behind by a process that stopped half way; worth nothing.
    pub(crate) temporary: Vec<String>,
}

impl Listing {
    /// Sorts `names` by kind; what is not ours is left out.
    pub(crate) fn of(names: Vec<String>) -> Self {
        let mut listing = Self::default();
        for name in names {
            if let Some(first) = number(&name, "journal-", ".seg") {
                listing.segments.push((Lsn(first), name));
            } else if let Some(lsn) = number(&name, "snapshot-", ".snap") {
                listing.snapshots.push((Lsn(lsn), name));
            } else if let Some(number) = number(&name, "spare-", ".seg") {
                listing.spares.push((number, name));
            } else if ["snapshot-", "spare-"]
                .iter()
                .any(|prefix| number(&name, prefix, ".tmp").is_some())
            {
                listing.temporary.push(name);
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        listing.spares.sort_unstable();
        listing
    }
}

fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_and_nothing_else_is() {
        let names = [
            segment(Lsn(7)),
            segment(Lsn(1)),
            snapshot(Lsn(6)),
            snapshot_temporary(Lsn(9)),
            spare(3),
            spare_temporary(4),
            damaged(&segment(Lsn(1)), 0),
            damaged(&segment(Lsn(1)), 1),
            "journal.lock".to_owned(),
            "journal-7.seg".to_owned(),
            "notes".to_owned(),
        ];
        let listing = Listing::of(names.to_vec());
        assert_eq!(
            listing.segments,
            [(Lsn(1), segment(Lsn(1))), (Lsn(7), segment(Lsn(7)))]
        );
        assert_eq!(listing.snapshots, [(Lsn(6), snapshot(Lsn(6)))]);
        assert_eq!(listing.spares, [(3, spare(3))]);
        assert_eq!(
            listing.temporary,
            [snapshot_temporary(Lsn(9)), spare_temporary(4)]
        );
    }
}
