//! `pool file …` with a gateway.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::kit::pool::program;
use crate::kit::{Gateway, PASSWORD, bytes, digest, local};

/// Exit code, what it prints and what it says beside that.
fn pool(gateway: &Gateway, words: &[&str]) -> (i32, Value, String) {
    let folder = gateway.folder.path();
    let ended = Command::new(program("pool"))
        .env_clear()
        .env("ADMINPASSWORD", PASSWORD)
        .env("POOL_CA", folder.join("certs/ca.pem"))
        .env("POOL_FILES_URL", gateway.url(""))
        .env("HOME", folder)
        .current_dir(folder)
        .args(["-o", "json", "file"])
        .args(words)
        .output()
        .expect("it runs");
    let said = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    let problem = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code().expect("it was not killed"), said, problem)
}

fn store(folder: &Path) -> String {
    folder.join("engine/files").display().to_string()
}

#[test]
fn a_file_goes_there_and_back_is_listed_checked_and_removed() {
    let gateway = Gateway::start();
    let folder = gateway.folder.path();
    let data = bytes(2_000_000);
    local(folder, "data.bin", &data);
    let (exit, put, problem) = pool(&gateway, &["put", "data.bin", "--name", "in/data.bin"]);
    assert_eq!((exit, &*problem), (0, ""));
    assert_eq!(
        (&put["sha256"], &put["bytes_known"]),
        (&digest(&data).hex().into(), &0.into())
    );
    let (exit, put, _) = pool(&gateway, &["put", "data.bin"]);
    assert_eq!((exit, &put["bytes_known"]), (0, &2_000_000.into()), "it is known");
    let (exit, list, _) = pool(&gateway, &["list", "--limit", "1"]);
    assert_eq!((exit, &list[0]["name"]), (0, &"data.bin".into()));
    let (_, list, _) = pool(&gateway, &["list", "in/", "--all"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    let content = digest(&data).to_string();
    for (source, to) in [("in/data.bin", "one"), (&*content, "two")] {
        let (exit, got, problem) = pool(&gateway, &["get", source, "--to", to]);
        assert_eq!(
            (exit, &got["sha256"]),
            (0, &digest(&data).hex().into()),
            "{problem}"
        );
        assert!(fs::read(folder.join(to)).expect("it is there") == data);
    }
    let (exit, verified, problem) = pool(&gateway, &["verify", &store(folder)]);
    assert_eq!(
        (exit, &verified["sound"], &verified["files"]),
        (0, &true.into(), &2.into()),
        "{problem}"
    );
    let (exit, ..) = pool(&gateway, &["remove", "data.bin", "nobody"]);
    assert_eq!(exit, 8, "one of two");
    assert_eq!(pool(&gateway, &["remove", "in/data.bin"]).0, 0);
    let (exit, _, problem) = pool(&gateway, &["get", "in/data.bin"]);
    assert_eq!(exit, 5, "{problem}");
}

#[test]
fn a_download_goes_on_with_what_is_left_and_damage_is_found() {
    let gateway = Gateway::start();
    let folder = gateway.folder.path();
    let data = bytes(2_000_000);
    local(folder, "data.bin", &data);
    pool(&gateway, &["put", "data.bin"]);
    for (left, known) in [
        (&data[..1_500_000], 1_500_000),
        (&data[..], 2_000_000),
        (&[7; 100][..], 100),
    ] {
        local(folder, "got.part", left);
        let (exit, got, problem) = pool(&gateway, &["get", "data.bin", "--to", "got", "--resume"]);
        if left.starts_with(&[7]) {
            // The rest of it does not fit what was left: that is said, and without --resume it is right.
            assert_eq!(exit, 1, "{problem}");
            assert_eq!(pool(&gateway, &["get", "data.bin", "--to", "got"]).0, 0);
        } else {
            assert_eq!((exit, &got["bytes_known"]), (0, &known.into()), "{problem}");
        }
        assert!(fs::read(folder.join("got")).expect("it is there") == data);
        assert!(!folder.join("got.part").exists());
        fs::remove_file(folder.join("got")).expect("it is there");
    }
    let hex = digest(&data).hex();
    let content = folder
        .join("engine/files/content")
        .join(&hex[..2])
        .join(&hex[2..]);
    local(content.parent().expect("a folder"), &hex[2..], b"damaged");
    let (exit, verified, _) = pool(&gateway, &["verify", &store(folder)]);
    assert_eq!(
        (exit, &verified["damaged"][0]["files"][0]["name"]),
        (1, &"data.bin".into())
    );
    let nowhere = pool(&gateway, &["verify", "/nowhere"]);
    assert_eq!(nowhere.0, 5, "{}", nowhere.2);
}

#[test]
fn an_upload_goes_on_in_another_process() {
    let gateway = Gateway::start();
    let folder = gateway.folder.path();
    crate::kit::large(&folder.join("large"), 200);
    let mut put = Command::new(program("pool"))
        .env_clear()
        .env("ADMINPASSWORD", PASSWORD)
        .env("POOL_CA", folder.join("certs/ca.pem"))
        .env("POOL_FILES_URL", gateway.url(""))
        .env("HOME", folder)
        .current_dir(folder)
        .args(["file", "put", "large"])
        .spawn()
        .expect("it runs");
    // Behind the first piece, which is then acknowledged.
    crate::kit::until("something has come", || {
        gateway.metric("pool_gateway_received_bytes_total") > 70 << 20
    });
    put.kill().expect("our child");
    put.wait().expect("our child");
    let (exit, put, problem) = pool(&gateway, &["put", "large", "--resume"]);
    assert_eq!(exit, 0, "{problem}");
    assert!(put["bytes_known"].as_u64() >= Some(64 << 20), "{put}");
    assert_eq!(pool(&gateway, &["verify", &store(folder)]).0, 0);
}

#[test]
fn what_goes_wrong_has_an_exit_code_and_a_cure() {
    let gateway = Gateway::with(&["--file-bytes-max", "10"]);
    local(gateway.folder.path(), "data.bin", &bytes(11));
    let url = gateway.url("");
    let cases: [(i32, &[&str], &str); 7] = [
        (2, &["put", "data.bin"], "MAXFILESIZE"),
        (2, &["put", "data.bin", "--name", "../x"], "--name"),
        (5, &["put", "nothing"], "nothing"),
        (5, &["get", "nobody"], "pool file list"),
        (5, &["remove", "nobody"], "pool file list"),
        (
            4,
            &["list", "--password", "wrong", "--files-url", &url],
            "password",
        ),
        (3, &["list", "--files-url", "nonsense"], "https://"),
    ];
    for (expected, words, told) in cases {
        let (exit, _, problem) = pool(&gateway, words);
        assert_eq!(exit, expected, "{words:?}: {problem}");
        assert!(problem.contains(told), "{words:?}: {problem}");
    }
}
