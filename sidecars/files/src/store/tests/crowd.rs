//! Many at once, on few names and few contents.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_crowd_every_name_has_its_content_and_nothing_is_left_over() {
    for place in Place::all() {
        let store = place.open().await;
        let clients = (0..16_u32).map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut random = client.wrapping_mul(0x9E37_79B9) | 1;
                for _ in 0..60 {
                    // xorshift32: a different order for each client is all that is wanted.
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    let name = ["a", "a/b", "works/1/1/c", "d"][(random % 4) as usize];
                    let content = [b"one", b"two", b"six"][(random / 4 % 3) as usize];
                    match random / 16 % 4 {
                        0 => drop(store.remove("anna", name).await),
                        1 => {
                            let begun = store.begin_upload(of(name, content), 3).await.expect("it begins");
                            if begun.file.is_none() {
                                let done = store.append(&begun.id, &user("anna"), 0, body(&[content])).await;
                                assert!(done.expect("it ends").file.is_some());
                            }
                        }
                        2 => store.upkeep(now()).await.expect("it is done"),
                        _ => drop(put(&store, name, content).await.expect("it is stored")),
                    }
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("it does not panic");
        }
        store.upkeep(now()).await.expect("it is done");
        let report = place.verify().await;
        assert!(report.is_sound() && report.unreferenced.is_empty(), "{report:?}");
        let (counted, listed) = (store.numbers(), store.list("anna", "", None, 99));
        assert_eq!((counted.files, counted.contents), (report.files, report.contents));
        drop(store);
        assert_eq!(
            place.open().await.list("anna", "", None, 99),
            listed,
            "disk and index agree"
        );
        assert_eq!(place.left_in_staging(), [""; 0]);
    }
}
