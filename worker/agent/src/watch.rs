//! Looks at the disks every few seconds, removes images, and says why the worker takes no work. What is to be done is
//! decided in `disk`, afresh at each look, from what is there then.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::disk::{Keeper, Marks, Place, Usage, to_remove};
use crate::executor::Docker;
use crate::status::Disk;

/// The disks of a worker.
pub struct DiskWatch {
    /// The worker's folder.
    pub folder: PathBuf,
    /// Where works run: in there, or elsewhere.
    pub works: PathBuf,
    /// Between two looks.
    pub every: Duration,
    /// What begins and ends where.
    pub marks: Marks,
    /// Whose images may go.
    pub images: Option<Arc<Docker>>,
}

/// What there was to be seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// Why the worker takes no work.
    pub(crate) problem: Option<String>,
    pub(crate) disks: Vec<Disk>,
    /// Images that works have used.
    pub(crate) images: usize,
}

impl DiskWatch {
    /// Looks until it is dropped, and says what it sees.
    pub(crate) async fn run(self, say: watch::Sender<Seen>) {
        let mut keeper = Keeper::new(self.marks);
        let mut every = tokio::time::interval(self.every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            // A disk that cannot be looked at tells nothing new.
            if let Some(places) = self.look(&mut keeper).await {
                let disk = |place: &Place| Disk {
                    what: place.what.clone(),
                    percent: place.usage.percent(),
                };
                let now = Seen {
                    problem: keeper.holds(&places),
                    disks: places.iter().map(disk).collect(),
                    images: self.images.as_ref().map_or(0, |docker| docker.images_used()),
                };
                say.send_if_modified(|seen| {
                    let changed = *seen != now;
                    *seen = now;
                    changed
                });
            }
        }
    }

    /// The disks, after images have gone that have to.
    async fn look(&self, keeper: &mut Keeper) -> Option<Vec<Place>> {
        let Some(docker) = &self.images else {
            return self.own().await;
        };
        docker.keep_uses();
        let root = docker.root().await;
        let image_place = match &root {
            Some(root) => root.as_path(),
            None => &self.folder,
        };
        let mut images = self.images_usage(docker, root.as_deref()).await?;
        if let Some(mark) = keeper.collects(images) {
            images = self.collect(docker, root.as_deref(), images, mark).await?;
        }
        let mut places = self.own().await?;
        if root.is_some() && !is_one_disk(image_place, &self.folder) {
            places.push(place(image_place, "images", images));
        }
        Some(places)
    }

    /// Those that works and their worker write to.
    async fn own(&self) -> Option<Vec<Place>> {
        let mut places = vec![place(&self.folder, "its folder", usage_of(&self.folder).await?)];
        if !is_one_disk(&self.folder, &self.works) {
            places.push(place(&self.works, "works", usage_of(&self.works).await?));
        }
        Some(places)
    }

    /// Removes images until the disk is below the mark or no more may go; how full it is then.
    async fn collect(
        &self,
        docker: &Docker,
        root: Option<&Path>,
        mut usage: Usage,
        mark: u8,
    ) -> Option<Usage> {
        let images = match docker.images().await {
            Ok(images) => images,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "images cannot be listed"
                );
                return Some(usage);
            }
        };
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        for image in to_remove(usage, mark, &images, now_s) {
            if !docker.remove_image(&image.id).await {
                continue;
            }
            usage = self.images_usage(docker, root).await?;
            tracing::info!(
                event = "image_removed",
                image = image.id,
                bytes = image.size,
                unused_s = now_s.saturating_sub(image.used_s),
                disk_percent = usage.percent(),
                "removed the image that works have not used for longest"
            );
            if to_remove(usage, mark, &images, now_s).is_empty() {
                break;
            }
        }
        Some(usage)
    }

    /// The disk that images are on. If that of the engine cannot be seen from here, it is taken to be as large as the
    /// folder's, with nothing on it but the images.
    async fn images_usage(&self, docker: &Docker, root: Option<&Path>) -> Option<Usage> {
        match root {
            Some(root) => usage_of(root).await,
            None => Some(Usage {
                used: docker.images_bytes().await?,
                total: usage_of(&self.folder).await?.total,
            }),
        }
    }
}

fn place(folder: &Path, of: &str, usage: Usage) -> Place {
    Place {
        what: format!("{} ({of})", folder.display()),
        usage,
    }
}

fn is_one_disk(one: &Path, other: &Path) -> bool {
    let device = |path| fs::metadata(path).map(|metadata| metadata.dev());
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one == other)
}

/// On another thread: a disk that does not answer must not delay the heartbeat.
async fn usage_of(folder: &Path) -> Option<Usage> {
    let path = folder.to_owned();
    let looked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path)).await;
    match looked.map_err(io::Error::other).and_then(|stat| Ok(stat?)) {
        Ok(stat) => {
            let used = stat.f_blocks.saturating_sub(stat.f_bfree);
            let total = used.saturating_add(stat.f_bavail);
            Some(Usage {
                used: used.saturating_mul(stat.f_frsize),
                total: total.saturating_mul(stat.f_frsize),
            })
        }
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "the disk cannot be looked at");
            None
        }
    }
}
