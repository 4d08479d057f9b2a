//! The demo as a new user sees it, small: the picture is whole although a worker and the engine were killed.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

#[test]
fn the_picture_is_whole_although_a_worker_and_the_engine_are_killed() {
    // The demo starts the programs beside it; whoever runs this test alone may not have built them.
    let demo = Path::new(env!("CARGO_BIN_EXE_pool-demo"));
    if ["pool", "pool-engine", "pool-worker", "pool-persist"]
        .iter()
        .any(|name| !demo.with_file_name(name).exists())
    {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--workspace", "--bins"])
            .status();
        assert!(
            built.expect("cargo runs").success(),
            "the pool's programs could not be built"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("small.png");
    let output = Command::new(demo)
        .args(["--size", "512", "--tiles", "16", "--workers", "3", "--out"])
        .arg(&picture)
        .arg("--data")
        .arg(folder.path().join("pool"))
        .output()
        .expect("the demo starts");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "it ended with {}:\n{said}",
        output.status
    );
    assert!(
        said.contains("killed a worker") && said.contains("killed the engine"),
        "{said}"
    );
    assert!(said.contains("256 tiles, each exactly once"), "{said}");
    assert!(said.contains("epoch 2"), "the engine was started again:\n{said}");
    assert!(said.contains("tables      equal to the journal"), "{said}");
    let file = BufReader::new(File::open(&picture).expect("the picture is there"));
    let reader = png::Decoder::new(file).read_info().expect("a PNG");
    assert_eq!(reader.info().size(), (512, 512));
}
