//! What each family of events does. The scheduler routes; here it is decided.

mod clients;
mod command;
mod dispatch;
mod explain;
mod grant;
mod joining;
mod journal;
mod links;
mod query;
mod report;
mod submit;
mod time;
mod worker;
