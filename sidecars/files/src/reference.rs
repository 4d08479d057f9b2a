//! A reference: that a file of an owner is this content.

use serde::{Deserialize, Serialize};
use wire_protocol::file::Digest;
use wire_protocol::units::Instant;

/// A file of an owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// The login that it belongs to.
    pub owner: String,
    /// What it is called; checked by [`wire_protocol::file::check_name`].
    pub name: String,
    /// Its content.
    pub digest: Digest,
    /// Bytes of its content.
    pub bytes: u64,
    /// When it was named.
    pub created: Instant,
    /// From when on it is not there any more. `None`: it stays.
    pub expires: Option<Instant>,
}

/// As it is on disk: JSON, for people with a broken pool as well.
#[derive(Serialize, Deserialize)]
struct Written {
    owner: String,
    name: String,
    sha256: String,
    bytes: u64,
    created_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ns: Option<u64>,
}

impl Reference {
    /// Whether it is there.
    #[must_use]
    pub fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let written = Written {
            owner: self.owner.clone(),
            name: self.name.clone(),
            sha256: self.digest.hex(),
            bytes: self.bytes,
            created_ns: self.created.0,
            expires_ns: self.expires.map(|expires| expires.0),
        };
        serde_json::to_vec(&written).expect("plain values are JSON")
    }

    pub(crate) fn from_json(text: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(text).ok()?;
        wire_protocol::file::check_name(&written.name).ok()?;
        Some(Self {
            owner: written.owner,
            name: written.name,
            digest: Digest::from_hex(&written.sha256).ok()?,
            bytes: written.bytes,
            created: Instant(written.created_ns),
            expires: written.expires_ns.map(Instant),
        })
    }

    /// Where it is kept, below the root.
    pub(crate) fn place(&self) -> String {
        place(&self.owner, &self.name)
    }
}

/// Bytes of one folder's name, so that each file system takes it with what is put behind it.
const SEGMENT_BYTES_MAX: usize = 200;

/// Where the reference to a file is kept, below the root.
///
/// `~` is in no name. A segment that is too long for a folder goes on in the next one, which `~` at its end says; and
/// the file itself ends with `.json~`, so that the file `a` and the file `a/b` do not stand in each other's way.
pub(crate) fn place(owner: &str, name: &str) -> String {
    let mut place = format!("{NAMES}/{}", folder_of(owner));
    for segment in name.split('/') {
        let mut rest = segment;
        place.push('/');
        while rest.len() > SEGMENT_BYTES_MAX {
            // Names are ASCII, so any cut is one between characters.
            let (head, tail) = rest.split_at(SEGMENT_BYTES_MAX);
            place.extend([head, "~/"]);
            rest = tail;
        }
        place.push_str(rest);
    }
    place.push_str(ENDING);
    place
}

/// The folder of references.
pub(crate) const NAMES: &str = "names";

/// What the file of a reference ends with.
pub(crate) const ENDING: &str = ".json~";

/// A folder's name for a login, which may be anything: what is not plain is written as in a URL, and what is then too long
/// is hashed.
fn folder_of(owner: &str) -> String {
    let plain = |at: usize, byte: u8| {
        byte.is_ascii_alphanumeric() || b"_-@".contains(&byte) || (byte == b'.' && at > 0)
    };
    let mut folder = String::new();
    for (at, byte) in owner.bytes().enumerate() {
        if plain(at, byte) {
            folder.push(char::from(byte));
        } else {
            folder.push_str(&format!("%{byte:02X}"));
        }
    }
    if folder.len() > SEGMENT_BYTES_MAX {
        let hash = ring::digest::digest(&ring::digest::SHA256, owner.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        folder = format!("~{hash}");
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reference_has_a_place_that_people_can_read() {
        assert_eq!(
            place("admin", "works/17/2/output.tar"),
            "names/admin/works/17/2/output.tar.json~"
        );
        assert_eq!(place("../x", "a"), "names/%2E.%2Fx/a.json~");
        let long = "x".repeat(256);
        let [head, tail] = ["x".repeat(200), "x".repeat(56)];
        assert_eq!(place("admin", &long), format!("names/admin/{head}~/{tail}.json~"));
        assert!(place(&"ü".repeat(200), "a").len() < 100);
    }

    #[test]
    fn a_reference_is_read_as_it_is_written() {
        let reference = Reference {
            owner: "0xABC@d".to_owned(),
            name: "a/b".to_owned(),
            digest: Digest([3; 32]),
            bytes: 17,
            created: Instant(5),
            expires: Some(Instant(9)),
        };
        assert_eq!(Reference::from_json(&reference.to_json()), Some(reference));
        assert_eq!(Reference::from_json(b"{}"), None);
    }

    /// Names in which everything that could be mistaken for each other is near.
    fn name() -> impl Strategy<Value = String> {
        let segment = prop_oneof!["[ab.]{1,3}", "x{198,203}", Just("a.json".to_owned())];
        prop::collection::vec(segment, 1..3).prop_map(|segments| segments.join("/"))
    }

    proptest! {
        #[test]
        fn no_two_references_have_the_same_place_or_one_inside_the_other(one in name(), other in name()) {
            prop_assume!(one != other);
            let [one, other] = [place("o", &one), place("o", &other)];
            prop_assert_ne!(&one, &other);
            let inside = format!("{}/", one);
            prop_assert!(!other.starts_with(&inside));
            prop_assert!(one.split('/').all(|segment| segment.len() <= 255));
        }
    }
}
