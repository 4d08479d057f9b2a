//! A process that ends before any step that it does to its disk, and is started again.

use std::collections::BTreeMap;

use super::*;

/// What was promised: of each name what it may be now. More than one where the answer was lost.
#[derive(Default)]
struct Promises(BTreeMap<&'static str, Vec<Option<Digest>>>);

impl Promises {
    /// What came of making this name that content.
    fn told(&mut self, name: &'static str, content: Option<Digest>, ok: bool) {
        let may = self.0.entry(name).or_insert_with(|| vec![None]);
        if ok {
            may.clear();
        }
        may.push(content);
    }
}

/// All that changes a store. Returns how many bytes of the last upload were acknowledged.
async fn story(store: &Store, promises: &mut Promises) -> Option<(String, u64)> {
    let done = put(store, "a", b"one").await;
    promises.told("a", Some(digest(b"one")), done.is_ok());
    let done = put(store, "a", b"two").await;
    promises.told("a", Some(digest(b"two")), done.is_ok());
    let done = put(store, "b/c", b"two").await;
    promises.told("b/c", Some(digest(b"two")), done.is_ok());
    let done = put(store, "a", b"one").await;
    promises.told("a", Some(digest(b"one")), done.is_ok());
    let done = store.remove("anna", "b/c").await;
    if !matches!(done, Err(StoreError::NoFile)) {
        promises.told("b/c", None, done.is_ok());
    }
    let by = user("anna");
    if let Ok(begun) = store.begin_upload(of("up", b"uploaded"), 8).await {
        let _ = store.append(&begun.id, &by, 0, body(&[b"uplo"])).await;
        let done = store.append(&begun.id, &by, 4, body(&[b"aded"])).await;
        promises.told("up", Some(digest(b"uploaded")), done.is_ok());
    }
    let linked = store.begin_upload(of("linked", b"uploaded"), 8).await;
    let is_linked = matches!(&linked, Ok(status) if status.file.is_some());
    promises.told("linked", Some(digest(b"uploaded")), is_linked);
    let begun = store.begin_upload(of("open", b"unfinished"), 10).await.ok()?;
    let sent = store.append(&begun.id, &by, 0, body(&[b"unfin"])).await;
    Some((begun.id, if sent.is_ok() { 5 } else { 0 }))
}

#[tokio::test]
async fn killed_before_any_step_it_keeps_what_it_promised_and_leaves_nothing_half() {
    for step in 0.. {
        let place = Place::folder();
        let steps = Steps::failing_after(step);
        let mut promises = Promises::default();
        let mut upload = None;
        if let Ok(store) = place.open_failing(&steps).await {
            upload = story(&store, &mut promises).await;
        }
        let store = place.open().await;
        for (name, may) in &promises.0 {
            let is = store.file("anna", name).map(|file| file.digest);
            assert!(
                may.contains(&is),
                "step {step}: {name} is {is:?}, and may be {may:?}"
            );
        }
        let report = place.verify().await;
        assert!(report.is_sound(), "step {step}: {report:?}");
        assert_eq!(
            (report.unreferenced.len(), report.strange.len()),
            (0, 0),
            "step {step}: {report:?}"
        );
        if let Some((id, acknowledged)) = &upload {
            let status = store.upload(id, &user("anna")).await.expect("it was begun");
            assert!(status.offset >= *acknowledged, "step {step}: {status:?}");
            let rest = &b"unfinished"[status.offset as usize..];
            let done = store
                .append(id, &user("anna"), status.offset, body(&[rest]))
                .await;
            assert!(done.expect("it goes on").file.is_some());
        }
        let left: Vec<String> = place.left_in_staging();
        let pairs = left.iter().filter(|name| name.ends_with(".part")).count();
        assert_eq!(
            (left.len(), store.numbers().uploads),
            (2 * pairs, pairs as u64),
            "step {step}: {left:?}"
        );
        if steps.none_failed() {
            assert!(step > 40, "the story has {step} steps");
            return;
        }
    }
}
