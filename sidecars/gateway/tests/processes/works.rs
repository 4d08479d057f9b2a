//! Works that read files of the store and leave files there: real engine, worker, gateway and command line.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use testkit::docker::{DockerEngine, IMAGE};

use crate::kit::pool::Pool;
use crate::kit::{bytes, digest, login, until};

async fn put(pool: &Pool, name: &str, content: &[u8]) {
    let client = pool.gateway.client();
    let put = pool
        .gateway
        .request(&client, Method::PUT, &format!("/api/v1/files/{name}"));
    let answer = put.body(content.to_vec()).send().await.expect("it answers");
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn get(pool: &Pool, source: &str) -> Vec<u8> {
    let client = pool.gateway.client();
    let get = pool
        .gateway
        .request(&client, Method::GET, &format!("/api/v1/files/{source}"));
    let answer = get.send().await.expect("it answers");
    assert!(answer.status().is_success(), "{answer:?}");
    answer.bytes().await.expect("a body").to_vec()
}

fn text(work: &Value, field: &str) -> String {
    work[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {work}"))
        .to_owned()
}

/// Path and content of each file of an archive.
fn listed(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    use std::io::Read;
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            (path, content)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_finds_its_files_and_leaves_others() {
    let pool = Pool::start(&[]);
    put(&pool, "scenes/1.txt", b"one").await;
    put(&pool, "scenes/2.txt", b"two").await;
    put(&pool, "in.txt", b"typed").await;
    let by_hash = format!("h={}", digest(b"one"));
    let work = pool.run(&[
        "--sweep",
        "n=1..2",
        "--file",
        "deep/scene=scenes/{n}.txt",
        "--file",
        &by_hash,
        "--stdin-file",
        "in.txt",
        "--keep",
        "out",
        "--",
        "sh",
        "-c",
        "mkdir out && cat deep/scene h - > out/all && echo {n} > out/n && cat out/all",
    ]);
    assert_eq!(text(&work, "state"), "succeeded", "{work}");
    assert_eq!(text(&work, "stdout"), "oneonetyped");
    let archive = text(&work, "archive");
    let content = get(&pool, &archive).await;
    assert_eq!(digest(&content).to_string(), archive);
    assert_eq!(
        listed(&content),
        [
            ("out/all".to_owned(), b"oneonetyped".to_vec()),
            ("out/n".to_owned(), b"1\n".to_vec())
        ]
    );
    // By work and attempt it has a name, too.
    let named = format!("works/{}/1/output.tar", work["work"]);
    assert_eq!(get(&pool, &named).await, content);
    assert_eq!(text(&work, "consensus"), archive);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_work_leaves_the_same_bytes() {
    let pool = Pool::start(&[]);
    let run = || {
        pool.run(&[
            "--keep",
            "**/*.txt",
            "--",
            "sh",
            "-c",
            "mkdir b; echo $$ > .pid; echo 2 > b/2.txt; sleep 0.0$(($$ % 10)); echo 1 > 1.txt; chmod 600 1.txt",
        ])
    };
    let (one, other) = (run(), run());
    assert_ne!(one["work"], other["work"]);
    assert_eq!(text(&one, "archive"), text(&other, "archive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_or_kept_is_told_with_its_cause() {
    let pool = Pool::start(&["--file-bytes-max", "100000"]);
    put(&pool, "evil.tar", &evil()).await;
    for (options, command, reason, said) in [
        (&["--file", "a=none.txt"][..], "true", "input-missing", "none.txt"),
        (
            &["--file", "a=http://127.0.0.1/x"],
            "true",
            "input-missing",
            "not a public host",
        ),
        (
            &["--unpack", "a=evil.tar"],
            "true",
            "input-missing",
            "leads out of the folder",
        ),
        (
            &["--keep", "gone.txt"],
            "true",
            "output-missing",
            "gone.txt is not there",
        ),
        (
            &["--keep", "*"],
            "ln -s /etc/passwd out",
            "output-missing",
            "a symbolic link",
        ),
        (&["--keep", "*"], "mkfifo out", "output-missing", "a pipe"),
        (
            &["--keep", "*", "--output-limit", "20KB"],
            "head -c 30000 /dev/zero > out",
            "output-missing",
            "longer than 20000 bytes",
        ),
        (
            &["--keep", "*"],
            "head -c 200000 /dev/zero > out",
            "output-missing",
            "cannot be stored",
        ),
    ] {
        let arguments = [&["--attempts", "1"], options, &["--", "sh", "-c", command]].concat();
        let work = pool.run(&arguments);
        assert_eq!(text(&work, "state"), "failed", "{work}");
        assert!(text(&work, "reason").contains(reason), "{command}: {work}");
        assert!(text(&work, "stderr").contains(said), "{command}: {work}");
    }
    assert!(
        !std::path::Path::new("/tmp/workerpool-evil").exists(),
        "it stays inside"
    );
    let after = pool.run(&["--", "echo", "alive"]);
    assert_eq!(text(&after, "stdout"), "alive\n");
    let worker = pool.folder().join("worker");
    let left = |folder: &str| fs::read_dir(worker.join(folder)).expect("it is there").count();
    until("folders of works are removed", || left("works") == 0);
    assert_eq!(left("outputs"), 0);
}

/// A tar archive with an entry that leads out of its folder.
fn evil() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    let path = b"../../../../../../tmp/workerpool-evil";
    header.as_gnu_mut().expect("it is").name[..path.len()].copy_from_slice(path);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, std::io::empty()).expect("to memory");
    builder.into_inner().expect("to memory")
}

/// Of 192 MiB, or of `POOL_LARGE_OUTPUT_MIB`; with 2048 it takes a minute, 8 GiB of memory for the test itself, and 16 GiB of
/// disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_goes_on_where_it_was_cut_and_takes_no_memory() {
    let mib = std::env::var("POOL_LARGE_OUTPUT_MIB").ok();
    let mib: u32 = mib.and_then(|mib| mib.parse().ok()).unwrap_or(192);
    let content = bytes((mib as usize) << 20);
    let longest = (2 * content.len()).to_string();
    let mut pool = Pool::start(&["--file-bytes-max", &longest]);
    pool.gateway
        .files()
        .upload(
            "big.bin",
            &write(&pool, &content),
            wire_files::Content {
                digest: digest(&content),
                bytes: content.len() as u64,
            },
            &login(),
            &mut |_| {},
        )
        .await
        .expect("it is taken");
    let (code, bag) = pool.pool(&[
        "work",
        "submit",
        "--file",
        "in=big.bin",
        "--keep",
        "out",
        "--",
        "sh",
        "-c",
        "cat in > out",
    ]);
    assert_eq!(code, 0, "{bag}");
    // In the middle of whatever it is at, three times.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700) * mib / 192).await;
        pool.gateway.kill();
        pool.gateway.start_again();
    }
    let first = bag["first_work"].to_string();
    let (code, _) = pool.pool(&["work", "wait", &first, "--timeout", "10m"]);
    assert_eq!(code, 0);
    let (_, work) = pool.pool(&["work", "get", &first]);
    let archive = get(&pool, &text(&work, "archive")).await;
    let files = listed(&archive);
    assert_eq!(files.len(), 1);
    assert!(files[0].0 == "out" && files[0].1 == content, "it is identical");
    assert_eq!(work["attempt"], 1, "{work}");
    let worker = memory_peak_kib(pool.worker_pid());
    let gateway = pool.gateway.memory_peak_kib();
    println!("{mib} MiB: worker {worker} KiB, gateway {gateway} KiB at most");
    assert!(
        worker < 64 << 10 && gateway < 64 << 10,
        "worker {worker} KiB, gateway {gateway} KiB"
    );
}

fn write(pool: &Pool, content: &[u8]) -> std::path::PathBuf {
    let path = pool.folder().join("big.bin");
    fs::write(&path, content).expect("own folder");
    path
}

fn memory_peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_small_files_are_one_archive() {
    let pool = Pool::start(&[]);
    let work = pool.run(&[
        "--keep",
        "many",
        "--",
        "sh",
        "-c",
        "mkdir many && cd many && seq 1 10000 | split -l 1 -a 4 -",
    ]);
    assert_eq!(text(&work, "state"), "succeeded", "{work}");
    let archive = get(&pool, &text(&work, "archive")).await;
    let files = listed(&archive);
    assert_eq!(files.len(), 10_000);
    assert!(files.is_sorted_by(|one, other| one.0 < other.0));
    assert_eq!(files[9_999].1, b"10000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_while_it_uploads_loses_no_work() {
    let mut pool = Pool::start(&["--file-bytes-max", "1073741824"]);
    let (code, bag) = pool.pool(&[
        "work",
        "submit",
        "--keep",
        "out",
        "--",
        "sh",
        "-c",
        "head -c 100000000 /dev/zero > out",
    ]);
    assert_eq!(code, 0, "{bag}");
    let outputs = pool.folder().join("worker/outputs");
    until("outputs are collected", || {
        fs::read_dir(&outputs).is_ok_and(|found| found.count() > 0)
    });
    pool.kill_worker();
    pool.start_worker(&[]);
    let first = bag["first_work"].to_string();
    let (code, _) = pool.pool(&["work", "wait", &first, "--timeout", "120s"]);
    assert_eq!(code, 0);
    let (_, work) = pool.pool(&["work", "get", &first]);
    assert_eq!(text(&work, "state"), "succeeded", "{work}");
    let archive = get(&pool, &text(&work, "archive")).await;
    assert_eq!(
        archive.len() as u64,
        work["archive_bytes"].as_u64().expect("a size")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_have_files_too() {
    let docker = DockerEngine::start();
    let mut pool = Pool::start(&[]);
    pool.kill_worker();
    let socket = docker.socket().display().to_string();
    pool.start_worker(&["--docker-socket", &socket, "--docker-allow", IMAGE]);
    put(&pool, "in.txt", b"one").await;
    put(&pool, "typed.txt", b"two").await;
    let app = format!("docker:{IMAGE}");
    let work = pool.run(&[
        "--app",
        &app,
        "--file",
        "deep/in=in.txt",
        "--stdin-file",
        "typed.txt",
        "--keep",
        "out/*",
        "--consensus",
        "out/sum",
        "--",
        "sh",
        "-c",
        "echo more >> deep/in && mkdir out && cat deep/in - > out/all && echo 42 > out/sum && id -u",
    ]);
    assert_eq!(text(&work, "state"), "succeeded", "{work}");
    assert_eq!(
        text(&work, "stdout"),
        "65534\n",
        "it is nobody, and its input is its own"
    );
    assert_eq!(text(&work, "consensus"), digest(b"42\n").to_string());
    let archive = get(&pool, &text(&work, "archive")).await;
    assert_eq!(
        listed(&archive),
        [
            ("out/all".to_owned(), b"onemore\ntwo".to_vec()),
            ("out/sum".to_owned(), b"42\n".to_vec())
        ]
    );
    let work = pool.run(&[
        "--app",
        &app,
        "--attempts",
        "1",
        "--keep",
        "*",
        "--",
        "ln",
        "-s",
        "/etc/shadow",
        "out",
    ]);
    assert_eq!(text(&work, "reason"), "output-missing", "{work}");
    assert_eq!(docker.containers(), [""; 0], "none is left");
}
