//! Uploads and downloads.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::StatusCode;
use ring::digest::{Context as Hash, SHA256};
use serde_json::{Value, json};
use wire_files::{Content, FilesError, Place, Upload, Wanted};
use wire_protocol::file::{Digest, check_name};
use wire_protocol::units::Bytes;

use super::{Remote, failed};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Show, fields};

/// Bytes that are read and hashed at once.
const PIECE_BYTES: usize = 256 * 1024;

struct Moved {
    what: &'static str,
    name: String,
    path: PathBuf,
    content: Content,
    /// Bytes that were not sent or received because they were there.
    known: u64,
}

impl Show for Moved {
    const KIND: &'static str = "file-transfer";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["name", "size", "sha256"];

    fn json(&self) -> Value {
        json!({
            "done": self.what,
            "name": self.name,
            "path": self.path,
            "sha256": self.content.digest.hex(),
            "bytes": self.content.bytes,
            "bytes_known": self.known,
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            Bytes(self.content.bytes).to_string(),
            self.content.digest.hex(),
        ]
    }

    fn text(&self) -> String {
        let known = match self.known {
            0 => String::new(),
            known => format!(", of which {} were there", Bytes(known)),
        };
        fields(&[
            (self.what, self.name.clone()),
            ("path", self.path.display().to_string()),
            (
                "size",
                format!(
                    "{} ({} bytes){known}",
                    Bytes(self.content.bytes),
                    self.content.bytes
                ),
            ),
            ("sha256", self.content.digest.hex()),
        ])
    }
}

/// A bar of bytes, or nothing where nobody looks.
struct Bar(ProgressBar);

impl Bar {
    fn new(doing: &'static str, bytes: u64) -> Self {
        let seen = io::stderr().is_terminal();
        let target = if seen {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta}";
        bar.set_style(
            ProgressStyle::with_template(template).expect("the template is a constant that tests draw"),
        );
        bar.set_message(doing);
        if seen {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(super) async fn put(
    store: &Remote,
    output: &Output,
    path: &Path,
    name: Option<String>,
    resume: bool,
) -> Result<Exit, Failure> {
    let name = match name {
        Some(name) => name,
        None => path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    };
    check_name(&name)
        .map_err(|error| Failure::usage(error.to_string()).cure("say what it is called with --name"))?;
    let content = hash(path)?;
    let memory = Memory::of(&store.url, &name, content);
    let mut known = None;
    if resume && let Some(place) = memory.recall() {
        let upload = Upload::at(&place).map_err(|error| failed(&error))?;
        match send(store, &upload, path, content, &mut known).await {
            // It has expired: there is nothing to go on with.
            Err(FilesError::Refused {
                status: StatusCode::NOT_FOUND | StatusCode::GONE,
                ..
            }) => known = None,
            sent => {
                sent.map_err(|error| again(&error, path, &name))?;
                memory.forget();
                return tell_put(output, name, path, content, known);
            }
        }
    }
    let begun = store.files.begin_upload(&name, content, &store.login);
    let Some(upload) = begun.await.map_err(|error| failed(&error))? else {
        return tell_put(output, name, path, content, Some(content.bytes));
    };
    memory.keep(upload.place());
    let sent = send(store, &upload, path, content, &mut known).await;
    sent.map_err(|error| again(&error, path, &name))?;
    memory.forget();
    tell_put(output, name, path, content, known)
}

/// A failure after which an upload may go on.
fn again(error: &FilesError, path: &Path, name: &str) -> Failure {
    let goes_on = matches!(error, FilesError::Unreachable(_));
    let failure = failed(error);
    if goes_on {
        return failure.cure(format!(
            "go on later: pool file put {} --name {name} --resume",
            path.display()
        ));
    }
    failure
}

async fn send(
    store: &Remote,
    upload: &Upload,
    path: &Path,
    content: Content,
    known: &mut Option<u64>,
) -> Result<(), FilesError> {
    let bar = Bar::new("uploads", content.bytes);
    let mut progress = |bytes| {
        // What it says first was there before.
        known.get_or_insert(bytes);
        bar.0.set_position(bytes);
    };
    upload
        .finish(&store.files, path, content, &store.login, &mut progress)
        .await
}

fn tell_put(
    output: &Output,
    name: String,
    path: &Path,
    content: Content,
    known: Option<u64>,
) -> Result<Exit, Failure> {
    output.one(&Moved {
        what: "uploaded",
        name,
        path: path.to_owned(),
        content,
        known: known.unwrap_or(0),
    })?;
    Ok(Exit::Ok)
}

pub(super) async fn get(
    store: &Remote,
    output: &Output,
    source: &str,
    to: Option<PathBuf>,
    resume: bool,
    max: Option<Bytes>,
) -> Result<Exit, Failure> {
    let digest = expected(store, source).await?;
    let last = source.rsplit(['/', ':']).next().unwrap_or(source);
    let to = to.unwrap_or_else(|| PathBuf::from(last));
    let part = {
        let mut part = to.clone().into_os_string();
        part.push(".part");
        PathBuf::from(part)
    };
    let left = fs::metadata(&part).map_or(0, |found| found.len());
    let mut known = if resume { left } else { 0 };
    let here = if known > 0 { Some(hash(&part)?) } else { None };
    let content = match here.filter(|here| here.digest == digest) {
        // Only the last step was missing.
        Some(here) => here,
        None => {
            let wanted = Wanted {
                place: Place::Store(source),
                digest: Some(digest),
                bytes_max: max.map_or(u64::MAX, |max| max.0),
                goes_on: known > 0,
            };
            let bar = Bar::new("downloads", 0);
            let mut progress = |bytes, total: Option<u64>| {
                known = known.min(bytes);
                bar.0.set_length(total.unwrap_or(bytes));
                bar.0.set_position(bytes);
            };
            let got = store.files.download(wanted, &part, &store.login, &mut progress);
            got.await.map_err(|error| failed(&error))?
        }
    };
    fs::File::open(&part)?.sync_data()?;
    fs::rename(&part, &to)?;
    output.one(&Moved {
        what: "downloaded",
        name: source.to_owned(),
        path: to,
        content,
        known,
    })?;
    Ok(Exit::Ok)
}

/// What the content of a source is now: what is left of an earlier download may be of an earlier file of that name.
async fn expected(store: &Remote, source: &str) -> Result<Digest, Failure> {
    if source.starts_with(Digest::PREFIX) {
        return source
            .parse()
            .map_err(|error: wire_protocol::file::FileError| Failure::usage(error.to_string()));
    }
    check_name(source).map_err(|error| Failure::usage(error.to_string()))?;
    let look = store.files.look(source, &store.login).await;
    Ok(look.map_err(|error| failed(&error))?.digest)
}

/// What a file of this machine is.
fn hash(path: &Path) -> Result<Content, Failure> {
    let cannot = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::caused(exit, format!("cannot read {}", path.display()), &error)
    };
    let mut file = fs::File::open(path).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    if !found.is_file() {
        return Err(Failure::usage(format!("{} is no file", path.display()))
            .cure("make an archive of a folder first"));
    }
    let bar = Bar::new("reads", found.len());
    let (mut hash, mut bytes, mut piece) = (Hash::new(&SHA256), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece).map_err(cannot)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
        bar.0.set_position(bytes);
    }
    let digest = Digest(hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"));
    Ok(Content { digest, bytes })
}

/// Where an upload goes on, for another process of this user: a file in their state folder (XDG Base Directory
/// Specification), named by store, name and content. It is gone when the upload has ended.
struct Memory(Option<PathBuf>);

impl Memory {
    fn of(url: &str, name: &str, content: Content) -> Self {
        let folder = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
        let key = format!("{url}\0{name}\0{}", content.digest);
        let key = ring::digest::digest(&SHA256, key.as_bytes());
        let key: String = key.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(folder.map(|folder| folder.join("workerpool/uploads").join(key)))
    }

    fn recall(&self) -> Option<String> {
        fs::read_to_string(self.0.as_ref()?).ok()
    }

    /// That it cannot be kept costs only the chance to go on in another process.
    fn keep(&self, place: &str) {
        if let Some(path) = &self.0
            && let Some(folder) = path.parent()
        {
            let _ = fs::create_dir_all(folder).and_then(|()| fs::write(path, place));
        }
    }

    fn forget(&self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
