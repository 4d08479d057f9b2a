//! Archives: outputs into one, inputs out of one.
//!
//! An archive of outputs depends on nothing but paths and contents: a tar in which files are sorted by path, with times,
//! owners and groups of zero and modes of 0644, or 0755 where the owner may execute. Folders are not in it; what is empty is
//! lost. So the same work gives the same bytes on every machine, and replicas can be compared.
//!
//! What is in a work's folder was put there by foreign code, and what is in an archive by somebody else: links, devices
//! and paths that lead out are refused, never followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher};
use ring::digest::{Context, SHA256};
use rustix::fs::OFlags;
use tar::{Builder, EntryType, Header};
use thiserror::Error;
use walkdir::WalkDir;
use wire_protocol::file::Digest;
use wire_protocol::outcome::Archive;
use wire_protocol::template::Outputs;

/// Files of one archive, in or out.
const ENTRIES_MAX: usize = 1_000_000;

const BUFFER_BYTES: usize = 128 * 1024;

/// Why there is no archive, or nothing out of one.
#[derive(Debug, Error)]
pub(super) enum ArchiveError {
    /// For whoever submitted the work.
    #[error("{0}")]
    Content(String),
    /// For want of room another worker may do better.
    #[error("{0}")]
    NoRoom(String),
    /// This machine.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ArchiveError::NoRoom("the worker's disk is full".to_owned())
        }
        _ => ArchiveError::Io { path, source },
    }
}

/// What a work left, ready to be uploaded.
pub(super) struct Collected {
    /// `None`: nothing is kept.
    pub(super) archive: Option<Archive>,
    /// What counts when results are compared.
    pub(super) consensus: Option<Digest>,
}

/// Collects the outputs of a work that lie in `folder` into an archive at `to`.
pub(super) fn collect(
    folder: &Path,
    outputs: &Outputs,
    to: &Path,
    bytes_max: u64,
) -> Result<Collected, ArchiveError> {
    let archive = match outputs.collect.is_empty() {
        true => None,
        false => Some(pack(folder, &find(folder, &outputs.collect)?, to, bytes_max)?),
    };
    let consensus = match &outputs.consensus {
        None => archive.map(|archive| archive.digest),
        Some(path) => {
            let mut hash = Hashing::new(io::sink(), u64::MAX);
            let mut file = open(folder, Path::new(path))?.0;
            io::copy(&mut file, &mut hash).map_err(at(Path::new(path)))?;
            Some(hash.digest())
        }
    };
    Ok(Collected { archive, consensus })
}

/// A pattern, and whether something has matched it.
struct Pattern {
    text: String,
    matcher: GlobMatcher,
    is_plain: bool,
    found: bool,
}

/// A pattern as a work may say it.
pub(super) fn glob(pattern: &str) -> Result<Glob, String> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(false)
        .build();
    glob.map_err(|error| format!("`{pattern}` is no pattern: {}", error.kind()))
}

/// Paths of the files that patterns match, relative to `folder`, sorted by their bytes. A pattern that matches a folder
/// matches all that is in it. One without wildcards has to be there.
fn find(folder: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, ArchiveError> {
    let pattern = |text: &String| {
        Ok(Pattern {
            matcher: glob(text).map_err(ArchiveError::Content)?.compile_matcher(),
            is_plain: !text.contains(['*', '?', '[', '{']),
            text: text.clone(),
            found: false,
        })
    };
    let mut patterns = patterns.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1).follow_links(false) {
        let entry = entry.map_err(|error| {
            ArchiveError::Content(format!("the folder cannot be looked through: {error}"))
        })?;
        let path = entry.path().strip_prefix(folder).expect("it is below");
        let matches = |pattern: &Pattern| path.ancestors().any(|path| pattern.matcher.is_match(path));
        let mut any = false;
        for pattern in patterns.iter_mut().filter(|pattern| matches(pattern)) {
            pattern.found = true;
            any = true;
        }
        let kind = entry.file_type();
        if !any || kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(ArchiveError::Content(format!(
                "the output {} is no file but {}",
                path.display(),
                match kind.is_symlink() {
                    true => "a symbolic link",
                    false => "a device, a pipe or a socket",
                }
            )));
        }
        if found.len() == ENTRIES_MAX {
            return Err(ArchiveError::Content(format!(
                "there are more than {ENTRIES_MAX} output files"
            )));
        }
        found.push(path.to_owned());
    }
    if let Some(missing) = patterns.iter().find(|pattern| pattern.is_plain && !pattern.found) {
        return Err(ArchiveError::Content(format!(
            "the output {} is not there",
            missing.text
        )));
    }
    found.sort_unstable_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(found)
}

/// Opens a file of a work: that itself, not what a link leads to. With its size, and whether it may be executed.
fn open(folder: &Path, path: &Path) -> Result<(File, u64, bool), ArchiveError> {
    // Also the folders on the way must be none that a link leads to.
    let mut way = folder.to_owned();
    for component in path.components() {
        way.push(component);
        let metadata = fs::symlink_metadata(&way).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                ArchiveError::Content(format!("the output {} is not there", path.display()))
            }
            _ => at(path)(error),
        })?;
        if metadata.is_symlink() {
            let text = format!("the output {} leads over a symbolic link", path.display());
            return Err(ArchiveError::Content(text));
        }
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(&way)
        .map_err(at(path))?;
    let metadata = file.metadata().map_err(at(path))?;
    if !metadata.is_file() {
        let text = format!("the output {} is no file", path.display());
        return Err(ArchiveError::Content(text));
    }
    Ok((file, metadata.len(), metadata.mode() & 0o100 != 0))
}

fn pack(folder: &Path, paths: &[PathBuf], to: &Path, bytes_max: u64) -> Result<Archive, ArchiveError> {
    let out = File::create(to).map_err(at(to))?;
    let out = Hashing::new(BufWriter::with_capacity(BUFFER_BYTES, out), bytes_max);
    let mut builder = Builder::new(out);
    for path in paths {
        let (file, bytes, executable) = open(folder, path)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let mut content = file.take(bytes);
        let packed = builder.append_data(&mut header, path, &mut content);
        packed.map_err(|error| match error.get_ref() {
            Some(inner) if inner.is::<TooLong>() => ArchiveError::Content(inner.to_string()),
            _ => at(path)(error),
        })?;
        if content.limit() > 0 {
            let text = format!("the output {} was cut while it was collected", path.display());
            return Err(ArchiveError::Content(text));
        }
    }
    let packed = builder.into_inner().and_then(|mut out| {
        out.flush()?;
        Ok(out)
    });
    let out = packed.map_err(|error| match error.get_ref() {
        Some(inner) if inner.is::<TooLong>() => ArchiveError::Content(inner.to_string()),
        _ => at(to)(error),
    })?;
    let bytes = out.bytes;
    Ok(Archive {
        digest: out.digest(),
        bytes,
    })
}

/// A writer that knows the hash of what went through it, and lets no more through than its bound.
struct Hashing<W> {
    inner: W,
    hash: Context,
    bytes: u64,
    bytes_max: u64,
}

/// An archive gets longer than it may.
#[derive(Debug, Error)]
#[error("the outputs are longer than {0} bytes together")]
struct TooLong(u64);

impl<W: Write> Hashing<W> {
    fn new(inner: W, bytes_max: u64) -> Self {
        Self {
            inner,
            hash: Context::new(&SHA256),
            bytes: 0,
            bytes_max,
        }
    }

    fn digest(self) -> Digest {
        let digest = self.hash.finish();
        Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        if self.bytes > self.bytes_max {
            return Err(io::Error::other(TooLong(self.bytes_max)));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Unpacks an archive of inputs into `folder`, which is there: files and folders, nothing else, and nothing outside.
pub(super) fn unpack(archive: &Path, folder: &Path, bytes_max: u64) -> Result<(), ArchiveError> {
    let refuse = |text: String| Err(ArchiveError::Content(text));
    let file = File::open(archive).map_err(at(archive))?;
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(BUFFER_BYTES, file));
    let no_tar =
        |error: io::Error| ArchiveError::Content(format!("it is no tar archive that can be read: {error}"));
    let mut left = bytes_max;
    for (index, entry) in archive.entries().map_err(no_tar)?.enumerate() {
        let mut entry = entry.map_err(no_tar)?;
        let path = entry.path().map_err(no_tar)?.into_owned();
        if index >= ENTRIES_MAX {
            return refuse(format!("the archive has more than {ENTRIES_MAX} entries"));
        }
        let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        if !path.components().all(plain) || path.as_os_str().as_bytes().contains(&0) {
            return refuse(format!("the entry `{}` leads out of the folder", path.display()));
        }
        let target = folder.join(&path);
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&target).map_err(at(&path))?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let bytes = entry.size();
                left = match left.checked_sub(bytes) {
                    Some(left) => left,
                    None => {
                        return Err(ArchiveError::Content(format!(
                            "the archive holds more than {bytes_max} bytes"
                        )));
                    }
                };
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent).map_err(at(&path))?;
                }
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                // An earlier entry of this name is replaced, never written through.
                match fs::remove_file(&target) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
                    _ => {}
                }
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&target)
                    .map_err(at(&path))?;
                io::copy(&mut entry, &mut file).map_err(at(&path))?;
                let mode = if executable { 0o755 } else { 0o644 };
                file.set_permissions(fs::Permissions::from_mode(mode))
                    .map_err(at(&path))?;
            }
            EntryType::XGlobalHeader => {}
            kind => {
                return refuse(format!(
                    "the entry `{}` is neither file nor folder ({kind:?})",
                    path.display()
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn outputs(collect: &[&str]) -> Outputs {
        Outputs {
            collect: collect.iter().map(ToString::to_string).collect(),
            consensus: None,
        }
    }

    fn write(folder: &Path, path: &str, content: &[u8]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("new folders");
        fs::write(path, content).expect("a new file");
    }

    fn listed(archive: &Path) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(File::open(archive).expect("it is there"));
        let entries = archive.entries().expect("a tar");
        entries
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let header = entry.header();
                let zero = (
                    header.mtime().ok(),
                    header.uid().ok(),
                    header.gid().ok(),
                    header.username().ok().flatten(),
                );
                assert_eq!(zero, (Some(0), Some(0), Some(0), Some("")));
                let path = entry.path().expect("a path").display().to_string();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("its content");
                (path, content)
            })
            .collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whenever_and_in_whatever_order_they_were_made() {
        let temporary = tempfile::tempdir().expect("a folder");
        let long = format!("out/{}/deep.txt", "n".repeat(150));
        let names = ["out/b", "out/a/z", "out/a.txt", long.as_str(), "other"];
        let mut archives = Vec::new();
        for (run, order) in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]].into_iter().enumerate() {
            let folder = temporary.path().join(run.to_string());
            for index in order {
                write(&folder, names[index], names[index].as_bytes());
            }
            fs::set_permissions(
                folder.join("out/b"),
                fs::Permissions::from_mode(0o711 + run as u32),
            )
            .expect("own file");
            let to = temporary.path().join(format!("{run}.tar"));
            let collected = collect(&folder, &outputs(&["out/**"]), &to, u64::MAX).expect("they are there");
            let archive = collected.archive.expect("something is kept");
            let content = fs::read(&to).expect("it is there");
            assert_eq!(content.len() as u64, archive.bytes);
            let hash = ring::digest::digest(&SHA256, &content);
            assert_eq!(hash.as_ref(), archive.digest.0);
            assert_eq!(collected.consensus, Some(archive.digest));
            archives.push((archive.digest, listed(&to)));
        }
        assert_eq!(archives[0], archives[1]);
        let paths: Vec<_> = archives[0].1.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["out/a.txt", "out/a/z", "out/b", long.as_str()]);
    }

    #[test]
    fn patterns_say_what_is_kept() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("work");
        for path in ["a.png", "a.txt", "out/b.png", "out/deep/c.png", ".hidden"] {
            write(&folder, path, path.as_bytes());
        }
        let to = temporary.path().join("out.tar");
        for (patterns, expected) in [
            (&["*.png"][..], &["a.png"][..]),
            (&["**/*.png"], &["a.png", "out/b.png", "out/deep/c.png"]),
            (&["out"], &["out/b.png", "out/deep/c.png"]),
            (&["out/*"], &["out/b.png", "out/deep/c.png"]),
            (&["out/*.png", "a.txt"], &["a.txt", "out/b.png"]),
            (&["?.{txt,png}"], &["a.png", "a.txt"]),
            (&["*.gif"], &[]),
            (
                &["**"],
                &[".hidden", "a.png", "a.txt", "out/b.png", "out/deep/c.png"],
            ),
        ] {
            collect(&folder, &outputs(patterns), &to, u64::MAX).expect("they are good");
            let paths: Vec<_> = listed(&to).into_iter().map(|(path, _)| path).collect();
            assert_eq!(paths, expected, "{patterns:?}");
        }
        let error = |patterns| match collect(&folder, &outputs(patterns), &to, u64::MAX) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{patterns:?} is collected"),
        };
        assert_eq!(error(&["a.gif"]), "the output a.gif is not there");
        assert!(error(&["a["]).contains("is no pattern"), "{}", error(&["a["]));
    }

    #[test]
    fn what_counts_may_be_one_file() {
        let temporary = tempfile::tempdir().expect("a folder");
        write(temporary.path(), "sum.txt", b"42");
        let outputs = Outputs {
            collect: Vec::new(),
            consensus: Some("sum.txt".to_owned()),
        };
        let to = temporary.path().join("out.tar");
        let collected = collect(temporary.path(), &outputs, &to, u64::MAX).expect("it is there");
        let hash = ring::digest::digest(&SHA256, b"42");
        assert_eq!(
            collected.consensus.map(|digest| digest.0.to_vec()),
            Some(hash.as_ref().to_vec())
        );
        assert_eq!((collected.archive, to.exists()), (None, false));
    }

    #[test]
    fn links_and_devices_are_refused_and_never_followed() {
        let temporary = tempfile::tempdir().expect("a folder");
        let secret = temporary.path().join("secret");
        write(&secret, "key", b"secret");
        let to = temporary.path().join("out.tar");
        let folder = |name: &str| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).expect("a new folder");
            folder
        };
        let link = folder("link");
        symlink(secret.join("key"), link.join("out")).expect("a link");
        let linked = folder("linked");
        symlink(&secret, linked.join("out")).expect("a link");
        let pipe = folder("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            pipe.join("out"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .expect("a pipe");
        for (folder, problem) in [
            (&link, "a symbolic link"),
            (&linked, "a symbolic link"),
            (&pipe, "a pipe"),
        ] {
            for pattern in ["out", "**"] {
                match collect(folder, &outputs(&[pattern]), &to, u64::MAX) {
                    Err(ArchiveError::Content(text)) => assert!(text.contains(problem), "{text}"),
                    _ => panic!("{} was collected", folder.display()),
                }
            }
        }
        // What lies behind a link to a folder is not there.
        let behind = outputs(&["out/*"]);
        collect(&linked, &behind, &to, u64::MAX).expect("nothing of it is there");
        assert_eq!(listed(&to), []);
        let consensus = Outputs {
            collect: Vec::new(),
            consensus: Some("out/key".to_owned()),
        };
        assert!(collect(&linked, &consensus, &to, u64::MAX).is_err());
    }

    #[test]
    fn outputs_have_a_bound() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("work");
        write(&folder, "big", &[7; 100_000]);
        let to = temporary.path().join("out.tar");
        let error = match collect(&folder, &outputs(&["big"]), &to, 50_000) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it is too long"),
        };
        assert!(error.contains("50000 bytes"), "{error}");
        collect(&folder, &outputs(&["big"]), &to, 200_000).expect("it fits");
    }

    #[test]
    fn an_archive_comes_out_as_it_went_in() {
        let temporary = tempfile::tempdir().expect("a folder");
        let (folder, back) = (temporary.path().join("work"), temporary.path().join("back"));
        write(&folder, "a/b/c", b"one");
        write(&folder, "run", b"two");
        fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755)).expect("own file");
        let to = temporary.path().join("out.tar");
        collect(&folder, &outputs(&["**"]), &to, u64::MAX).expect("they are there");
        fs::create_dir(&back).expect("a new folder");
        unpack(&to, &back, 6).expect("it fits");
        assert_eq!(fs::read(back.join("a/b/c")).expect("it is there"), b"one");
        let mode = |path: &str| fs::metadata(back.join(path)).expect("it is there").mode() & 0o777;
        assert_eq!((mode("run"), mode("a/b/c")), (0o755, 0o644));
        assert!(matches!(unpack(&to, &back, 5), Err(ArchiveError::Content(_))));
    }

    #[test]
    fn archives_that_lead_elsewhere_are_refused() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("work");
        fs::create_dir(&folder).expect("a new folder");
        let evil = temporary.path().join("evil.tar");
        let pack = |kind: EntryType, path: &str, link: Option<&str>| {
            let mut builder = Builder::new(File::create(&evil).expect("a new file"));
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o644);
            // As it stands: the library would refuse to write it.
            header.as_gnu_mut().expect("it is").name[..path.len()].copy_from_slice(path.as_bytes());
            if let Some(link) = link {
                header.set_link_name_literal(link).expect("it fits");
            }
            header.set_cksum();
            builder.append(&header, io::empty()).expect("it is written");
            builder.finish().expect("it is written");
        };
        for (kind, path, link, problem) in [
            (EntryType::Regular, "../out", None, "leads out"),
            (EntryType::Regular, "a/../../out", None, "leads out"),
            (EntryType::Regular, "/tmp/out", None, "leads out"),
            (EntryType::Directory, "../out", None, "leads out"),
            (EntryType::Symlink, "out", Some("/etc"), "neither file nor folder"),
            (
                EntryType::Link,
                "out",
                Some("/etc/passwd"),
                "neither file nor folder",
            ),
            (EntryType::Char, "out", None, "neither file nor folder"),
            (EntryType::Block, "out", None, "neither file nor folder"),
            (EntryType::Fifo, "out", None, "neither file nor folder"),
        ] {
            pack(kind, path, link);
            match unpack(&evil, &folder, 1_000) {
                Err(ArchiveError::Content(text)) => assert!(text.contains(problem), "{path}: {text}"),
                _ => panic!("{path} of kind {kind:?} was unpacked"),
            }
        }
        assert!(!temporary.path().join("out").exists());
        fs::write(&evil, b"no tar at all").expect("own file");
        assert!(matches!(
            unpack(&evil, &folder, 1_000),
            Err(ArchiveError::Content(_))
        ));
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
    }
}
