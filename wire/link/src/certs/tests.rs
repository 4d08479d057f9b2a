//! Certificates: made once, kept for good, and refused with the file and the cure when something is wrong with them.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn names() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_made_identity_is_kept_and_loaded_with_the_same_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/certs");
    let made = ServerIdentity::load_or_create(&folder, &names()).unwrap();
    let files = |folder: &Path| {
        ["ca.pem", "ca.key", "server.pem", "server.key"].map(|name| fs::read(folder.join(name)).unwrap())
    };
    let before = files(&folder);
    let loaded = ServerIdentity::load_or_create(&folder, &["other".to_owned()]).unwrap();
    assert_eq!(made.fingerprint(), loaded.fingerprint());
    assert_eq!(made.derive("x"), loaded.derive("x"));
    assert_ne!(made.derive("x"), made.derive("y"));
    assert_eq!(before, files(&folder));
    assert_eq!(loaded.ca_file(), Some(folder.join("ca.pem").as_path()));
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(
        (mode(&folder.join("server.key")), mode(&folder.join("ca.key"))),
        (0o600, 0o600)
    );
}

#[test]
fn a_pair_that_an_operator_brings_is_used_as_it_is() {
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = ServerIdentity::load_or_create(theirs.path(), &names()).unwrap();
    fs::copy(theirs.path().join("server.pem"), ours.path().join("server.crt")).unwrap();
    fs::copy(theirs.path().join("server.key"), ours.path().join("server.key")).unwrap();
    let loaded = ServerIdentity::load_or_create(ours.path(), &names()).unwrap();
    assert_eq!(loaded.fingerprint(), made.fingerprint());
    assert_eq!(loaded.ca_file(), None);
    let mut left: Vec<_> = fs::read_dir(ours.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["server.crt", "server.key"]);
}

#[test]
fn half_a_pair_is_an_error_that_names_both_files() {
    for (gone, there) in [("server.key", "server.pem"), ("server.pem", "server.key")] {
        let folder = tempfile::tempdir().unwrap();
        ServerIdentity::load_or_create(folder.path(), &names()).unwrap();
        fs::remove_file(folder.path().join(gone)).unwrap();
        let error = ServerIdentity::load_or_create(folder.path(), &names()).unwrap_err();
        assert!(matches!(error, CertsError::Half { .. }), "{error:?}");
        assert!(
            error.to_string().contains(&format!("{there} is there but")),
            "{error}"
        );
        assert!(
            !folder.path().join(gone).exists(),
            "nothing was made in its place"
        );
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &other] {
        ServerIdentity::load_or_create(folder.path(), &names()).unwrap();
    }
    fs::copy(other.path().join("server.key"), one.path().join("server.key")).unwrap();
    let error = ServerIdentity::load(one.path()).unwrap_err();
    assert!(matches!(error, CertsError::Mismatch { .. }), "{error:?}");
}

#[test]
fn files_that_are_no_pem_are_named() {
    for name in ["server.pem", "server.key"] {
        let folder = tempfile::tempdir().unwrap();
        ServerIdentity::load_or_create(folder.path(), &names()).unwrap();
        fs::write(folder.path().join(name), "hello").unwrap();
        let error = ServerIdentity::load(folder.path()).unwrap_err();
        assert!(
            matches!(&error, CertsError::Pem { path, .. } if path.ends_with(name)),
            "{error:?}"
        );
    }
}

#[test]
fn a_ca_without_its_key_signs_nothing_and_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), "theirs").unwrap();
    let error = ServerIdentity::load_or_create(folder.path(), &names()).unwrap_err();
    assert!(matches!(error, CertsError::Half { .. }), "{error:?}");
    assert_eq!(fs::read(folder.path().join("ca.pem")).unwrap(), b"theirs");
}

#[test]
fn starts_at_the_same_time_agree_on_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let prints: Vec<Fingerprint> = std::thread::scope(|scope| {
        let start = || {
            ServerIdentity::load_or_create(folder.path(), &names())
                .unwrap()
                .fingerprint()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(prints.windows(2).all(|pair| pair[0] == pair[1]), "{prints:?}");
}

#[test]
fn a_fingerprint_reads_back_what_it_writes() {
    let print = Fingerprint(std::array::from_fn(|at| u8::try_from(at * 7).unwrap_or(255)));
    assert_eq!(print.to_string().parse(), Ok(print));
    let spaced: Vec<String> = print.0.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(format!("sha256:{}", spaced.join(":")).parse(), Ok(print));
    for wrong in [
        "",
        "sha256:",
        "sha256:00",
        "md5:00",
        &format!("{print}0"),
        &format!("{print}00"),
        "sha256:zz",
    ] {
        assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError), "{wrong}");
    }
}

#[test]
fn the_default_names_cover_this_machine() {
    let names = default_names();
    for name in ["localhost", "127.0.0.1", "::1", "iexecscheduler"] {
        assert!(names.iter().any(|one| one == name));
    }
}
