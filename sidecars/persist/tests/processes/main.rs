//! The sidecar as a process, with a real engine, real workers and a real client.

#[path = "../tables/dump.rs"]
mod dump;
mod following;
#[path = "../kit/mod.rs"]
mod kit;
#[path = "../tables/mariadb.rs"]
mod mariadb;
mod stopping;
