//! A folder in memory that fails on demand and forgets like a disk whose power was cut.
//!
//! The model. A file has a *cached* content, which reads see, and a *durable* one, which a crash leaves.
//! A write changes the cache and marks its 512-byte sectors dirty; `sync_data` copies dirty sectors to the
//! durable content; a crash keeps or loses each dirty sector by a toss of the seeded coin, so a write is
//! torn at sectors, never inside one. A sync that is told to fail does what Linux does: some sectors
//! reach the disk, all of them become clean, and the cache goes on showing the new content, so that a second
//! sync succeeds and proves nothing. Names work the same way: each creation, rename or removal since
//! the last `sync_dir` is kept or lost on its own. Nothing here depends on time or threads.

use super::{File, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// EIO: the device gave up. A write has by then changed some of its sectors.
    Io,
    /// ENOSPC: there was no room. Nothing was written.
    Full,
}

/// What a crash does with everything that was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// All of it is lost.
    All,
    /// None of it is: the disk was just in time.
    Nothing,
    /// Each sector and each name by a toss of the coin, whose bias is random too.
    Random,
}

/// A faulty folder. Clones are handles to the same folder; [`fork`](Self::fork) makes another one.
#[derive(Clone)]
pub struct FaultStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone)]
struct Disk {
    coin: fastrand::Rng,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    /// Since the last `sync_dir`, in order.
    name_changes: Vec<NameChange>,
    inode_next: u64,
    calls: u64,
    fail_at: Option<(u64, Fault)>,
    capacity: Option<u64>,
    /// Counts crashes: a handle from before one is dead.
    life: u64,
    locked: bool,
}

#[derive(Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, u64),
    Renamed(String, String, u64),
    Removed(String),
}

impl FaultStorage {
    /// An empty folder whose faults follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            coin: fastrand::Rng::with_seed(seed),
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            name_changes: Vec::new(),
            inode_next: 0,
            calls: 0,
            fail_at: None,
            capacity: None,
            life: 0,
            locked: false,
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// Bounds the sum of all file lengths; a write that would pass it fails with ENOSPC. `None`
    /// takes the bound away.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Bytes of all files that have a name.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Lets the `n`-th call from now on fail, once; 1 is the next. Reads count like writes.
    pub fn fail_call(&self, n: u64, fault: Fault) {
        let mut disk = self.disk();
        disk.fail_at = Some((disk.calls + n, fault));
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// Cuts the power: open handles are dead, the lock is free, a pending fault is forgotten, and what was
    /// not synced meets `loss`.
    pub fn crash(&self, loss: Loss) {
        self.disk().crash(loss);
    }

    /// Stops the process only: like [`crash`](Self::crash), but the cache stays as it is.
    pub fn crash_process(&self) {
        self.disk().end_life();
    }

    /// An independent copy of the folder in its present state, without locks or pending faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut disk = self.disk().clone();
        disk.end_life();
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// What reads of a file see.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(name).map(|id| disk.inodes[id].cached.clone())
    }

    /// Puts a durable file there, whatever was there before: for planting damage.
    pub fn plant(&self, name: &str, content: Vec<u8>) {
        let mut disk = self.disk();
        let id = disk.inode_next;
        disk.inode_next += 1;
        disk.inodes.insert(
            id,
            Inode {
                cached: content.clone(),
                durable: content,
                dirty: BTreeSet::new(),
            },
        );
        disk.names.insert(name.to_owned(), id);
        disk.names_durable.insert(name.to_owned(), id);
    }

    /// Removes a file durably, behind the journal's back.
    pub fn unplant(&self, name: &str) {
        let mut disk = self.disk();
        disk.names.remove(name);
        disk.names_durable.remove(name);
    }

    /// Names in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, id: u64, life: u64) -> Arc<dyn File> {
        Arc::new(FaultFile {
            storage: self.clone(),
            id,
            life,
        })
    }
}

impl Disk {
    /// Counts a call; its fault, if this is the one.
    fn call(&mut self) -> Option<Fault> {
        self.calls += 1;
        match self.fail_at {
            Some((at, fault)) if at == self.calls => {
                self.fail_at = None;
                Some(fault)
            }
            _ => None,
        }
    }

    fn simple_call(&mut self) -> io::Result<()> {
        self.call().map_or(Ok(()), |fault| Err(fault.into()))
    }

    fn used_bytes(&self) -> u64 {
        self.names
            .values()
            .map(|id| self.inodes[id].cached.len() as u64)
            .sum()
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn end_life(&mut self) {
        self.life += 1;
        self.locked = false;
        self.fail_at = None;
    }

    fn crash(&mut self, loss: Loss) {
        self.end_life();
        let bias = match loss {
            Loss::All => 0.0,
            Loss::Nothing => 1.0,
            Loss::Random => [0.1, 0.5, 0.5, 0.9, 1.0][self.coin.usize(0..5)],
        };
        for change in core::mem::take(&mut self.name_changes) {
            if self.coin.f64() < bias {
                change.apply(&mut self.names_durable);
            }
        }
        self.names.clone_from(&self.names_durable);
        let linked: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|id, _| linked.contains(id));
        for inode in self.inodes.values_mut() {
            for sector in core::mem::take(&mut inode.dirty) {
                if self.coin.f64() < bias {
                    inode.persist(sector);
                }
            }
            inode.cached.clone_from(&inode.durable);
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, id) => {
                names.insert(name, id);
            }
            Self::Renamed(from, to, id) => {
                names.remove(&from);
                names.insert(to, id);
            }
            Self::Removed(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Inode {
    fn write_sectors(&mut self, offset: usize, bytes: &[u8], mut keep: impl FnMut() -> bool) {
        let end = offset + bytes.len();
        let mut at = offset;
        while at < end {
            let sector = at / SECTOR;
            let upto = ((sector + 1) * SECTOR).min(end);
            if keep() {
                if self.cached.len() < upto {
                    self.cached.resize(upto, 0);
                }
                self.cached[at..upto].copy_from_slice(&bytes[at - offset..upto - offset]);
                self.dirty.insert(sector);
            }
            at = upto;
        }
    }

    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cached.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.cached[start..end]);
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io => Self::other("input/output error (injected)"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

impl Storage for FaultStorage {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.simple_call()?;
        let id = disk.id(name)?;
        Ok(self.handle(id, disk.life))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.simple_call()?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = disk.inode_next;
        disk.inode_next += 1;
        disk.inodes.insert(id, Inode::default());
        disk.names.insert(name.to_owned(), id);
        disk.name_changes.push(NameChange::Set(name.to_owned(), id));
        Ok(self.handle(id, disk.life))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.simple_call()?;
        let id = disk.id(from)?;
        disk.names.remove(from);
        disk.names.insert(to.to_owned(), id);
        disk.name_changes
            .push(NameChange::Renamed(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.simple_call()?;
        disk.id(name)?;
        disk.names.remove(name);
        disk.name_changes.push(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut disk = self.disk();
        disk.simple_call()?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.simple_call()?;
        disk.names_durable = disk.names.clone();
        disk.name_changes.clear();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut disk = self.disk();
        disk.simple_call()?;
        if disk.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locked = true;
        Ok(Box::new(FaultLock {
            storage: self.clone(),
            life: disk.life,
        }))
    }

    fn describe(&self) -> String {
        "the simulated folder".to_owned()
    }
}

struct FaultLock {
    storage: FaultStorage,
    life: u64,
}

impl Drop for FaultLock {
    fn drop(&mut self) {
        let mut disk = self.storage.disk();
        if disk.life == self.life {
            disk.locked = false;
        }
    }
}

struct FaultFile {
    storage: FaultStorage,
    id: u64,
    life: u64,
}

impl FaultFile {
    /// The disk, unless it crashed since this file was opened.
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.storage.disk();
        if disk.life == self.life {
            Ok(disk)
        } else {
            Err(io::Error::other("the machine of this file crashed"))
        }
    }
}

impl File for FaultFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk()?;
        disk.simple_call()?;
        let cached = &disk.inodes[&self.id].cached;
        let start = usize::try_from(offset).map_or(cached.len(), |offset| offset.min(cached.len()));
        let count = buffer.len().min(cached.len() - start);
        buffer[..count].copy_from_slice(&cached[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let disk = &mut *disk;
        let fault = disk.call();
        let used = disk.used_bytes();
        let inode = disk.inodes.get_mut(&self.id).expect("open files have an inode");
        let growth = (offset + bytes.len() as u64).saturating_sub(inode.cached.len() as u64);
        let full = growth > 0 && disk.capacity.is_some_and(|capacity| used + growth > capacity);
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        match fault {
            _ if full => Err(Fault::Full.into()),
            Some(Fault::Full) => Err(Fault::Full.into()),
            Some(Fault::Io) => {
                let coin = &mut disk.coin;
                inode.write_sectors(offset, bytes, || coin.bool());
                Err(Fault::Io.into())
            }
            None => {
                inode.write_sectors(offset, bytes, || true);
                Ok(())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let disk = &mut *disk;
        let fault = disk.call();
        let inode = disk.inodes.get_mut(&self.id).expect("open files have an inode");
        for sector in core::mem::take(&mut inode.dirty) {
            if fault.is_none() || disk.coin.bool() {
                inode.persist(sector);
            }
        }
        if fault.is_none() && inode.durable.len() < inode.cached.len() {
            inode.durable.resize(inode.cached.len(), 0);
        }
        fault.map_or(Ok(()), |fault| Err(fault.into()))
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = self.disk()?;
        disk.simple_call()?;
        Ok(disk.inodes[&self.id].cached.len() as u64)
    }
}
