//! The scheduler, proved: stories by family, then random histories against invariants, replays and a model.

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../model/mod.rs"]
mod model;

mod agreement;
mod cancelling;
mod categories;
mod deadline_of_drains;
mod deadlines;
mod disk_full;
mod dispatch;
mod draining;
mod enrolling;
mod files;
mod following;
mod hostile;
mod idle;
mod joining;
mod leases;
mod logs;
mod metering;
mod notes;
mod queries;
mod random;
mod replaying;
mod report;
mod retry;
mod submit;
mod wallet;
mod warm;
