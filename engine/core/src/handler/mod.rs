//! What each family of events does. The scheduler routes; here it is decided.

mod clients;
mod command;
mod dispatch;
mod drain;
mod explain;
mod grant;
mod idle;
mod joining;
mod journal;
mod links;
mod log;
mod metering;
mod note;
mod query;
mod report;
mod submit;
mod time;
mod wallet;
mod warm;
mod worker;

pub(crate) use metering::Reserving;
