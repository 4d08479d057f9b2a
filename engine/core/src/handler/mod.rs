//! What each family of events does. The scheduler routes; here it is decided.

mod clients;
mod command;
mod dispatch;
mod explain;
mod grant;
mod joining;
mod journal;
mod links;
mod metering;
mod query;
mod report;
mod submit;
mod time;
mod warm;
mod worker;

pub(crate) use metering::Holding;
