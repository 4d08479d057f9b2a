//! The index beside an obvious one: a map of references and a list of uploads, from which everything is counted anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wire_protocol::units::Millis;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert {
        owner: u8,
        name: u8,
        content: u8,
        works: bool,
    },
    Remove {
        owner: u8,
        name: u8,
        works: bool,
    },
    Admit {
        owner: u8,
        bytes: u64,
    },
    More {
        upload: usize,
        bytes: u64,
    },
    Release {
        upload: usize,
    },
    Found {
        content: u8,
    },
    Collect,
    Expire,
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, name, content) = (0..3_u8, 0..4_u8, 0..5_u8);
    prop_oneof![
        4 => (owner.clone(), name.clone(), content.clone(), any::<bool>())
            .prop_map(|(owner, name, content, works)| Step::Insert { owner, name, content, works }),
        2 => (owner.clone(), name, any::<bool>()).prop_map(|(owner, name, works)| Step::Remove { owner, name, works }),
        3 => (owner, 0..120_u64).prop_map(|(owner, bytes)| Step::Admit { owner, bytes }),
        2 => (0..8_usize, 0..60_u64).prop_map(|(upload, bytes)| Step::More { upload, bytes }),
        2 => (0..8_usize).prop_map(|upload| Step::Release { upload }),
        1 => content.prop_map(|content| Step::Found { content }),
        1 => Just(Step::Collect),
        1 => Just(Step::Expire),
        1 => (0..80_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

const LIMITS: Limits = Limits {
    file_bytes_max: 100,
    owner_bytes_max: Some(250),
    works_kept: Some(Millis(100)),
    uploads_kept: Millis(1_000),
    uploads_max: 6,
    owner_uploads_max: 3,
};

#[derive(Default)]
struct Model {
    files: BTreeMap<(String, String), Reference>,
    uploads: Vec<(String, u64)>,
    stored: BTreeSet<Digest>,
}

fn digest(content: u8) -> Digest {
    Digest([content; 32])
}

fn bytes(content: u8) -> u64 {
    u64::from(content) * 10
}

fn named(name: u8, works: bool) -> String {
    format!("{}{name}", if works { "works/" } else { "" })
}

impl Model {
    fn used(&self, owner: &str) -> u64 {
        let files = self
            .files
            .values()
            .filter(|file| file.owner == owner)
            .map(|file| file.bytes);
        let uploads = self
            .uploads
            .iter()
            .filter(|(of, _)| of == owner)
            .map(|(_, bytes)| bytes);
        files.sum::<u64>() + uploads.sum::<u64>()
    }

    fn agrees(&self, index: &Index, now: Instant) {
        assert_eq!(index.files(), self.files.len());
        assert_eq!(index.uploads(), self.uploads.len());
        let contents: BTreeMap<Digest, u64> = self
            .files
            .values()
            .map(|file| (file.digest, file.bytes))
            .collect();
        assert_eq!(index.contents(), (contents.len(), contents.values().sum()));
        let unused: Vec<Digest> = self
            .stored
            .iter()
            .filter(|digest| !contents.contains_key(digest))
            .copied()
            .collect();
        assert_eq!(
            index.unused(usize::MAX),
            unused,
            "what nobody names, and nothing else"
        );
        for owner in ["0", "1", "2"] {
            assert_eq!(index.used(owner), self.used(owner), "{owner}");
            let alive: Vec<&Reference> = self
                .files
                .values()
                .filter(|file| file.owner == owner && file.lives(now))
                .collect();
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let page = index.list(owner, "", after.as_deref(), 2, now);
                listed.extend(page.files);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed.iter().collect::<Vec<_>>(), alive);
            for content in 0..5 {
                let has = self
                    .files
                    .values()
                    .any(|file| file.owner == owner && file.digest == digest(content));
                assert_eq!(index.content(owner, digest(content)), has.then(|| bytes(content)));
            }
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_an_obvious_one(steps in prop::collection::vec(step(), 0..60)) {
        let (mut index, mut model, mut now) = (Index::new(LIMITS), Model::default(), Instant(0));
        for step in steps {
            match step {
                Step::Insert { owner, name, content, works } => {
                    let name = named(name, works);
                    let reference = Reference {
                        owner: owner.to_string(),
                        expires: index.expiry(&name, now),
                        name,
                        digest: digest(content),
                        bytes: bytes(content),
                        created: now,
                    };
                    prop_assert_eq!(reference.expires.is_some(), works);
                    model.stored.insert(reference.digest);
                    let replaced = index.insert(&reference);
                    let key = (reference.owner.clone(), reference.name.clone());
                    prop_assert_eq!(replaced, model.files.insert(key, reference));
                }
                Step::Remove { owner, name, works } => {
                    let key = (owner.to_string(), named(name, works));
                    prop_assert_eq!(index.remove(&key.0, &key.1), model.files.remove(&key));
                }
                Step::Admit { owner, bytes } => {
                    let owner = owner.to_string();
                    let own = model.uploads.iter().filter(|(of, _)| *of == owner).count();
                    let fits = model.uploads.len() < 6 && own < 3 && bytes <= 100 && model.used(&owner) + bytes <= 250;
                    prop_assert_eq!(index.admit(&owner, bytes).is_ok(), fits);
                    if fits {
                        model.uploads.push((owner, bytes));
                    }
                }
                Step::More { upload, bytes } => {
                    if let Some((owner, had)) = model.uploads.get(upload).cloned() {
                        let fits = had + bytes <= 100 && model.used(&owner) + bytes <= 250;
                        prop_assert_eq!(index.reserve(&owner, bytes, had + bytes).is_ok(), fits);
                        if fits {
                            model.uploads[upload].1 += bytes;
                        }
                    }
                }
                Step::Release { upload } if upload < model.uploads.len() => {
                    let (owner, bytes) = model.uploads.remove(upload);
                    index.release(&owner, bytes);
                }
                Step::Release { .. } => {}
                Step::Found { content } => {
                    index.found(digest(content), bytes(content));
                    model.stored.insert(digest(content));
                }
                Step::Collect => {
                    for digest in index.unused(2) {
                        prop_assert!(index.is_unused(digest));
                        index.forget(digest);
                        model.stored.remove(&digest);
                    }
                }
                Step::Expire => {
                    let over: BTreeSet<(String, String)> = index.expired(now, usize::MAX).into_iter().collect();
                    let expected = model.files.iter().filter(|(_, file)| !file.lives(now)).map(|(key, _)| key.clone());
                    prop_assert_eq!(&over, &expected.collect());
                    for (owner, name) in over {
                        index.remove(&owner, &name);
                        model.files.remove(&(owner, name));
                    }
                }
                Step::Wait { ms } => now = now + Millis(ms),
            }
            model.agrees(&index, now);
        }
    }
}

fn reference(name: &str, content: u8) -> Reference {
    Reference {
        owner: "anna".to_owned(),
        name: name.to_owned(),
        digest: digest(content),
        bytes: bytes(content),
        created: Instant(0),
        expires: None,
    }
}

#[test]
fn a_list_begins_with_its_prefix_and_goes_on_behind_a_name() {
    let mut index = Index::new(LIMITS);
    for name in ["a", "a/b", "a/c", "ab", "b"] {
        index.insert(&reference(name, 1));
    }
    let list = |prefix, after, limit| {
        let page = index.list("anna", prefix, after, limit, Instant(0));
        (
            page.files.into_iter().map(|file| file.name).collect::<Vec<_>>(),
            page.next,
        )
    };
    assert_eq!(
        list("a/", None, 10),
        (vec!["a/b".to_owned(), "a/c".to_owned()], None)
    );
    assert_eq!(
        list("a", None, 2),
        (vec!["a".to_owned(), "a/b".to_owned()], Some("a/b".to_owned()))
    );
    assert_eq!(
        list("a", Some("a/b"), 2),
        (vec!["a/c".to_owned(), "ab".to_owned()], None)
    );
    assert_eq!(
        list("a/", Some("0"), 1).0,
        ["a/b"],
        "what is before the prefix is none of the list"
    );
    assert_eq!(list("", Some("zzz"), 1), (vec![], None));
    assert_eq!(list("", None, 0), (vec![], None));
}

#[test]
fn content_is_only_its_owners_who_have_a_file_of_it() {
    let mut index = Index::new(LIMITS);
    index.insert(&reference("x", 4));
    assert_eq!(index.content("anna", digest(4)), Some(40));
    assert_eq!(index.content("bert", digest(4)), None);
}

#[test]
fn content_that_may_be_named_is_not_unused() {
    let mut index = Index::new(LIMITS);
    index.insert(&reference("x", 4));
    index.found(digest(3), 30);
    assert_eq!(index.unused(9), [digest(3)]);
    index.doubt(digest(3));
    index.doubt(digest(4));
    index.remove("anna", "x");
    assert_eq!(index.unused(9), []);
    assert!(!index.is_unused(digest(3)) && !index.is_unused(digest(4)));
}
