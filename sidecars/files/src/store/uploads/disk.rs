//! Uploads on disk: `ID.json`, what one will be, and `ID.part`, what has come of it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use wire_protocol::units::Instant;

use super::{Info, Upload};
use crate::backend::{Steps, blocking, sync_folder, write_durable};
use crate::store::Shared;
use crate::store::staged::Staged;

const PART: &str = ".part";
const JSON: &str = ".json";

impl Shared {
    /// What has come of an upload, and what it will be.
    pub(in crate::store) fn files_of(&self, id: &str) -> [PathBuf; 2] {
        [PART, JSON].map(|ending| self.staging.join(format!("{id}{ending}")))
    }

    pub(in crate::store) async fn remove_files(&self, id: &str) -> io::Result<()> {
        let ([part, json], steps) = (self.files_of(id), self.backend.steps());
        blocking(move || {
            steps.step()?;
            // Without the second the first is left over, and is removed at the next start.
            for path in [json, part] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }
}

/// Makes the files of a new upload. It is there once its JSON is.
pub(super) fn make(part: &Path, json: &Path, text: &[u8], steps: &Steps) -> io::Result<Staged> {
    steps.step()?;
    let staged = Staged::create(part)?;
    let half = json.with_extension("new");
    steps.step()?;
    write_durable(&half, text)?;
    steps.step()?;
    fs::rename(&half, json)?;
    sync_folder(json.parent().expect("it is in the folder of uploads"))?;
    Ok(staged)
}

/// Uploads of an earlier start. What is no upload any more is removed.
pub(super) fn recover(staging: &Path) -> io::Result<Vec<Upload>> {
    let mut uploads = HashMap::new();
    let mut paths = Vec::new();
    for entry in fs::read_dir(staging)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json")
            && let Some(upload) = read(&path)?
        {
            uploads.insert(upload.id.clone(), upload);
        }
        paths.push(path);
    }
    for path in paths {
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let is_upload = uploads.contains_key(&*id) && ["json", "part"].contains(&&*ending);
        if !is_upload && id != ".lock" {
            tracing::debug!(path = %path.display(), "an upload that is none any more is removed");
            fs::remove_file(&path)?;
        }
    }
    Ok(uploads.into_values().collect())
}

/// An upload of an earlier start; `None`: it has no bytes any more, because they became a file or were about to be removed.
fn read(json: &Path) -> io::Result<Option<Upload>> {
    let Ok(info) = serde_json::from_slice::<Info>(&fs::read(json)?) else {
        return Ok(None);
    };
    let part = match fs::metadata(json.with_extension("part")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    let touched = part.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = json
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let offset = part.len().min(info.bytes);
    Ok(Some(Upload::new(
        id,
        info,
        offset,
        Instant(touched.as_nanos() as u64),
    )))
}
