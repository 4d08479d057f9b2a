//! What a store does, in order.

use proptest::prelude::*;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::units::Millis;

use super::*;

#[tokio::test]
async fn a_file_is_stored_found_listed_and_removed() {
    for place in Place::all() {
        let store = place.open().await;
        let stored = put(&store, "data/a", b"hello").await.expect("it is stored");
        assert!(!stored.replaced);
        assert_eq!((stored.file.digest, stored.file.bytes), (digest(b"hello"), 5));
        assert_eq!(
            get(&store, "anna", "data/a").await.as_deref(),
            Some(&b"hello"[..])
        );
        assert_eq!(
            get(&store, "bert", "data/a").await,
            None,
            "names are each owner's own"
        );
        put(&store, "data/b", b"hello").await.expect("it is stored");
        assert_eq!(store.numbers().contents, 1, "the same content is there once");
        assert_eq!(place.verify().await.contents, 1);
        store.remove("anna", "data/a").await.expect("it is there");
        assert_eq!(
            get(&store, "anna", "data/b").await.as_deref(),
            Some(&b"hello"[..])
        );
        store.remove("anna", "data/b").await.expect("it is there");
        let report = place.verify().await;
        assert_eq!(report, Report::default(), "nothing is left");
        assert!(matches!(
            store.remove("anna", "data/b").await,
            Err(StoreError::NoFile)
        ));
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_start() {
    for place in Place::all() {
        let store = place.open().await;
        for name in ["a", "a/b", "works/1/1/output.tar"] {
            put(&store, name, name.as_bytes()).await.expect("it is stored");
        }
        let before = store.list("anna", "", None, 10);
        drop(store);
        let store = place.open().await;
        assert_eq!(store.list("anna", "", None, 10), before);
        assert_eq!(get(&store, "anna", "a/b").await.as_deref(), Some(&b"a/b"[..]));
    }
}

#[tokio::test]
async fn a_file_that_is_stored_again_is_the_new_one_and_the_old_content_goes() {
    for place in Place::all() {
        let store = place.open().await;
        put(&store, "x", b"old").await.expect("it is stored");
        assert!(put(&store, "x", b"new").await.expect("it is stored").replaced);
        assert_eq!(get(&store, "anna", "x").await.as_deref(), Some(&b"new"[..]));
        let report = place.verify().await;
        assert_eq!((report.contents, report.unreferenced.len()), (1, 0));
    }
}

#[tokio::test]
async fn one_store_at_a_time_has_a_folder() {
    let place = Place::folder();
    let _store = place.open().await;
    let second = Store::open(place.backend.clone(), &place.staging(), place.limits).await;
    assert!(matches!(second, Err(StoreError::InUse(_))), "{second:?}");
}

#[tokio::test]
async fn an_upload_goes_on_after_a_cut_and_after_a_start() {
    for place in Place::all() {
        let store = place.open().await;
        let begun = store
            .begin_upload(of("x", b"hello world"), 11)
            .await
            .expect("it begins");
        let error = store
            .append(&begun.id, &user("anna"), 0, cut(&[b"hel", b"lo"]))
            .await;
        assert!(matches!(error, Err(StoreError::Cut(_))));
        assert_eq!(
            store
                .upload(&begun.id, &user("anna"))
                .await
                .expect("it is there")
                .offset,
            5
        );
        drop(store);
        let store = place.open().await;
        assert_eq!(
            store
                .upload(&begun.id, &user("anna"))
                .await
                .expect("it is there")
                .offset,
            5
        );
        let wrong = store.append(&begun.id, &user("anna"), 4, body(&[b"o"])).await;
        assert!(matches!(wrong, Err(StoreError::Offset { at: 5, asked: 4 })));
        let done = store
            .append(&begun.id, &user("anna"), 5, body(&[b" world"]))
            .await
            .expect("it ends");
        assert_eq!(
            done.file.as_ref().map(|file| file.digest),
            Some(digest(b"hello world"))
        );
        assert_eq!(
            get(&store, "anna", "x").await.as_deref(),
            Some(&b"hello world"[..])
        );
        assert_eq!(place.left_in_staging(), [""; 0]);
        // Whoever did not hear of it asks or sends again.
        assert_eq!(
            store
                .upload(&begun.id, &user("anna"))
                .await
                .expect("it is remembered"),
            done
        );
        let again = store.append(&begun.id, &user("anna"), 11, body(&[])).await;
        assert_eq!(again.expect("it is remembered"), done);
    }
}

#[tokio::test]
async fn only_who_began_an_upload_goes_on_with_it() {
    let place = Place::folder();
    let store = place.open().await;
    let attempt = |attempt| By::Attempt {
        owner: "anna".to_owned(),
        token: LeaseToken {
            work: WorkId(1),
            epoch: Epoch(1),
            attempt: Attempt(attempt),
            shard: Shard(0),
        },
    };
    let begun = store
        .begin_upload(
            NewUpload {
                by: attempt(1),
                ..new("x")
            },
            3,
        )
        .await
        .expect("it begins");
    for other in [attempt(2), user("anna"), user("bert")] {
        let refused = store.append(&begun.id, &other, 0, body(&[b"abc"])).await;
        assert!(matches!(refused, Err(StoreError::NoUpload)), "{other:?}");
        assert!(matches!(
            store.terminate(&begun.id, &other).await,
            Err(StoreError::NoUpload)
        ));
    }
    store
        .append(&begun.id, &attempt(1), 0, body(&[b"abc"]))
        .await
        .expect("it ends");
}

#[tokio::test]
async fn wrong_content_becomes_no_file() {
    for place in Place::all() {
        let store = place.open().await;
        let begun = store.begin_upload(of("x", b"right"), 5).await.expect("it begins");
        let refused = store.append(&begun.id, &user("anna"), 0, body(&[b"wrong"])).await;
        assert!(matches!(refused, Err(StoreError::Differs { .. })), "{refused:?}");
        let gone = store.upload(&begun.id, &user("anna")).await;
        assert!(matches!(gone, Err(StoreError::NoUpload)), "it has to begin again");
        let refused = store.put(of("x", b"right"), Some(5), body(&[b"wrong"])).await;
        assert!(matches!(refused, Err(StoreError::Differs { .. })), "{refused:?}");
        assert_eq!(store.file("anna", "x"), None);
        assert_eq!(place.verify().await, Report::default());
        assert_eq!(place.left_in_staging(), [""; 0]);
        assert_eq!(store.numbers().uploads, 0);
    }
}

#[tokio::test]
async fn content_that_the_owner_has_is_not_uploaded_again_but_that_of_others_is() {
    for place in Place::all() {
        let store = place.open().await;
        put(&store, "x", b"known").await.expect("it is stored");
        let begun = store.begin_upload(of("y", b"known"), 5).await.expect("it begins");
        assert_eq!(begun.file.map(|file| file.name).as_deref(), Some("y"));
        assert_eq!(get(&store, "anna", "y").await.as_deref(), Some(&b"known"[..]));
        let other = NewUpload {
            by: user("bert"),
            ..of("z", b"known")
        };
        let begun = store.begin_upload(other, 5).await.expect("it begins");
        assert_eq!(
            (begun.offset, begun.file),
            (0, None),
            "that others have it is not told"
        );
    }
}

#[tokio::test]
async fn nothing_becomes_longer_than_it_may() {
    let place = Place::folder().limits(Limits {
        file_bytes_max: 4,
        ..Limits::default()
    });
    let store = place.open().await;
    let refused = store.begin_upload(new("x"), 5).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::FileBytes { max: 4 }))
    ));
    let refused = store.put(new("x"), None, body(&[b"ab", b"cde"])).await;
    assert!(
        matches!(refused, Err(StoreError::TooLong { max: 4 })),
        "{refused:?}"
    );
    let few = NewUpload {
        bytes_max: 2,
        ..new("x")
    };
    let refused = store.put(few, Some(3), body(&[b"abc"])).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::FileBytes { max: 2 }))
    ));
    let begun = store.begin_upload(new("x"), 3).await.expect("it begins");
    let refused = store.append(&begun.id, &user("anna"), 0, body(&[b"abcd"])).await;
    assert!(
        matches!(refused, Err(StoreError::TooLong { max: 3 })),
        "{refused:?}"
    );
    let done = store
        .append(&begun.id, &user("anna"), 3, body(&[]))
        .await
        .expect("what fitted is kept");
    assert_eq!(done.file.map(|file| file.digest), Some(digest(b"abc")));
}

#[tokio::test]
async fn an_owner_has_no_more_bytes_than_its_quota_also_on_the_way() {
    let place = Place::folder().limits(Limits {
        owner_bytes_max: Some(10),
        owner_uploads_max: 2,
        ..Limits::default()
    });
    let store = place.open().await;
    put(&store, "x", b"1234").await.expect("it is stored");
    let begun = store.begin_upload(new("y"), 5).await.expect("it begins");
    let refused = store.begin_upload(new("z"), 2).await;
    let used = Refusal::OwnerBytes { used: 9, max: 10 };
    assert!(matches!(refused, Err(StoreError::Refused(refusal)) if refusal == used));
    let refused = store.put(new("z"), None, body(&[b"1", b"2"])).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(Refusal::OwnerBytes { .. }))),
        "{refused:?}"
    );
    let linked = store.begin_upload(of("z", b"1234"), 4).await;
    assert!(linked.is_err(), "what is not uploaded again counts too");
    store.begin_upload(new("one"), 1).await.expect("it fits");
    let refused = store.begin_upload(new("another"), 0).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::OwnerUploads { max: 2 }))
    ));
    store
        .terminate(&begun.id, &user("anna"))
        .await
        .expect("it is there");
    put(&store, "z", b"12345").await.expect("there is room again");
    assert_eq!(store.numbers().uploads, 1);
}

#[tokio::test]
async fn outputs_of_works_and_uploads_go_when_their_time_is_over() {
    for place in Place::all() {
        let place = place.limits(Limits {
            works_kept: Some(Millis(3_600_000)),
            uploads_kept: Millis(7_200_000),
            ..Limits::default()
        });
        let store = place.open().await;
        put(&store, "works/1/1/output.tar", b"out")
            .await
            .expect("it is stored");
        put(&store, "kept", b"kept").await.expect("it is stored");
        let begun = store.begin_upload(new("y"), 5).await.expect("it begins");
        store.upkeep(now() + Millis(3_000_000)).await.expect("it is done");
        assert_eq!(store.numbers().files, 2);
        store.upkeep(now() + Millis(3_700_000)).await.expect("it is done");
        assert_eq!((store.numbers().files, store.numbers().expired), (1, 1));
        assert!(store.upload(&begun.id, &user("anna")).await.is_ok());
        store.upkeep(now() + Millis(7_300_000)).await.expect("it is done");
        let gone = store.upload(&begun.id, &user("anna")).await;
        assert!(matches!(gone, Err(StoreError::NoUpload)));
        assert_eq!(place.left_in_staging(), [""; 0]);
        let report = place.verify().await;
        assert_eq!((report.files, report.contents), (1, 1));
    }
}

#[tokio::test]
async fn a_newer_request_takes_over_from_one_whose_connection_is_dead() {
    let place = Place::folder();
    let store = place.open().await;
    let begun = store.begin_upload(new("x"), 6).await.expect("it begins");
    let (first, by) = (store.clone(), user("anna"));
    let id = begun.id.clone();
    let silent = {
        use futures_util::StreamExt;
        Box::pin(body(&[b"abc"]).chain(stream::pending()))
    };
    let first = tokio::spawn(async move { first.append(&id, &by, 0, silent).await });
    // Until it has taken what came; it is not written before it is a piece or the end.
    while store.numbers().bytes_received < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        store
            .upload(&begun.id, &user("anna"))
            .await
            .expect("it answers")
            .offset,
        3
    );
    let first = first.await.expect("it does not panic");
    assert!(matches!(first, Err(StoreError::TakenOver)), "{first:?}");
    let done = store.append(&begun.id, &user("anna"), 3, body(&[b"def"])).await;
    assert!(done.expect("it ends").file.is_some());
}

#[tokio::test]
async fn damage_is_found_told_and_healed_by_an_upload() {
    let place = Place::folder();
    let store = place.open().await;
    for (name, content) in [("a", &b"aaaa"[..]), ("b", b"bbbb"), ("c", b"cccc")] {
        put(&store, name, content).await.expect("it is stored");
    }
    let at = |content: &[u8]| {
        let hex = digest(content).hex();
        place
            .folder
            .path()
            .join("content")
            .join(&hex[..2])
            .join(&hex[2..])
    };
    std::fs::write(at(b"aaaa"), b"aaab").expect("it is there");
    std::fs::remove_file(at(b"bbbb")).expect("it is there");
    std::fs::create_dir_all(at(b"dddd").parent().expect("a folder")).expect("it can be made");
    std::fs::write(at(b"dddd"), b"dddd").expect("it can be written");
    std::fs::write(place.folder.path().join("names/README"), b"x").expect("it can be written");
    let report = place.verify().await;
    assert!(!report.is_sound());
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].files[0].name, "a");
    assert_eq!(
        report.missing.iter().map(|file| &*file.name).collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(report.unreferenced, [(digest(b"dddd"), 4)]);
    assert_eq!(report.strange, ["names/README"]);
    for (name, content) in [("a", &b"aaaa"[..]), ("b", b"bbbb")] {
        put(&store, name, content).await.expect("it is stored");
    }
    assert!(place.verify().await.is_sound());
    drop(store);
    place.open().await;
    assert_eq!(
        place.verify().await.unreferenced,
        [],
        "a start removes what nobody uses"
    );
}

#[tokio::test]
async fn names_that_are_none_and_owners_that_are_none_are_refused() {
    let store = Place::folder();
    let store = store.open().await;
    for name in ["", "../x", "/etc/passwd", "a//b", "a\0", &"x".repeat(257)] {
        let refused = store.begin_upload(new(name), 1).await;
        assert!(matches!(refused, Err(StoreError::Name(_))), "{name}");
        let refused = store.put(new(name), None, body(&[])).await;
        assert!(matches!(refused, Err(StoreError::Name(_))), "{name}");
    }
    for owner in ["", &"x".repeat(257)] {
        let refused = store
            .begin_upload(
                NewUpload {
                    by: user(owner),
                    ..new("x")
                },
                1,
            )
            .await;
        assert!(matches!(refused, Err(StoreError::Owner(_))));
    }
    for owner in ["../../x", ".", "a/b", "ü", "0xAb"] {
        let by = user(owner);
        store
            .put(NewUpload { by, ..new("x") }, None, body(&[b"y"]))
            .await
            .expect("any login has files");
        assert_eq!(
            get(&store, owner, "x").await.as_deref(),
            Some(&b"y"[..]),
            "{owner}"
        );
    }
}

#[tokio::test]
async fn an_empty_file_is_one() {
    for place in Place::all() {
        let store = place.open().await;
        let begun = store.begin_upload(of("x", b""), 0).await.expect("it begins");
        assert!(begun.file.is_some());
        put(&store, "y", b"").await.expect("it is stored");
        assert_eq!(get(&store, "anna", "x").await, Some(Vec::new()));
        assert!(place.verify().await.is_sound());
    }
}

#[tokio::test]
async fn content_longer_than_a_part_goes_to_a_bucket_in_parts() {
    let place = Place::bucket();
    let store = place.open().await;
    let content: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    put(&store, "x", &content).await.expect("it is stored");
    assert!(get(&store, "anna", "x").await == Some(content));
    assert!(place.verify().await.is_sound());
}

#[tokio::test]
async fn ranges_are_those_bytes() {
    use futures_util::TryStreamExt;
    let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    for place in Place::all() {
        let store = place.open().await;
        let file = put(&store, "x", &content).await.expect("it is stored").file;
        for range in [0..0, 0..1, 262_143..262_145, 999_999..1_000_000, 1..999_999] {
            let read = store.read(file.digest, range.clone()).await.expect("it is there");
            let read: Vec<Bytes> = read.try_collect().await.expect("it can be read");
            assert!(
                read.concat() == content[range.start as usize..range.end as usize],
                "{range:?}"
            );
        }
    }
}

/// Requests of an upload: how many bytes each brings, in chunks of which size, whether it is cut, and whether the store is
/// started again behind it.
fn requests() -> impl Strategy<Value = Vec<(usize, usize, bool, bool)>> {
    prop::collection::vec(
        (0..400_000_usize, 1..300_000_usize, any::<bool>(), any::<bool>()),
        0..6,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn an_upload_that_is_cut_anywhere_arrives_as_it_was(requests in requests(), bytes in 0..800_000_usize) {
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        runtime.block_on(async {
            let place = Place::folder();
            let mut store = place.open().await;
            let begun = store.begin_upload(of("x", &content), bytes as u64).await.expect("it begins");
            let mut ended = begun.file.is_some();
            let whole = (usize::MAX, 65_536, false, false);
            for (came, chunk, is_cut, restart) in requests.into_iter().chain([whole]) {
                if ended {
                    break;
                }
                let at = store.upload(&begun.id, &user("anna")).await.expect("it is there").offset as usize;
                let sent = &content[at..at.saturating_add(came).min(bytes)];
                let chunks: Vec<&[u8]> = sent.chunks(chunk).collect();
                let (id, by) = (&begun.id, user("anna"));
                let answer = if is_cut {
                    store.append(id, &by, at as u64, cut(&chunks)).await
                } else {
                    store.append(id, &by, at as u64, body(&chunks)).await
                };
                ended = matches!(&answer, Ok(status) if status.file.is_some());
                assert!(is_cut || answer.is_ok(), "{answer:?}");
                if !ended {
                    let status = store.upload(id, &by).await.expect("it is there");
                    assert_eq!(status.offset as usize, at + sent.len(), "what came is kept, also before a cut");
                }
                if restart {
                    drop(store);
                    store = place.open().await;
                }
            }
            assert!(get(&store, "anna", "x").await == Some(content));
            assert_eq!(place.left_in_staging(), [""; 0]);
        });
    }
}
