//! What the journal promises, each promise under a name.

mod appending;
mod common;
mod damage;
mod disk_full;
mod faults;
mod folder;
mod showing;
mod snapshots;
mod tools;
