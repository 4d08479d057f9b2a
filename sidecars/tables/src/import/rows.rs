//! Rows of the predecessor, and rows of ours that are made of them.
//!
//! Columns of the predecessor: `xtremweb/…/xwhep-core-tables-create-tables.sql.in` and its 13.0.0 update.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::account::Role;

/// What the predecessor's database holds of what may come over.
#[derive(Clone, Default, Debug)]
pub struct Predecessor {
    /// Table `users`.
    pub users: Vec<OldUser>,
    /// Table `usergroups`.
    pub groups: Vec<OldGroup>,
    /// Table `memberships`, and the groups that rows of `users` name: `uid`s of a user and a group.
    pub memberships: BTreeSet<(String, String)>,
    /// Table `apps`.
    pub apps: Vec<OldApp>,
    /// Table `categories`.
    pub categories: Vec<Category>,
    /// Tables that its version does not have.
    pub missing: Vec<&'static str>,
}

/// A text that is printed nowhere.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A row of `users`.
#[derive(Clone, Default, Debug)]
pub struct OldUser {
    /// Primary key.
    pub uid: String,
    /// Unique, whether in capitals or not.
    pub login: String,
    /// Name of the right, as `STANDARD_USER`.
    pub rights: String,
    /// In clear text; empty: none.
    pub password: Secret,
    /// `None`: not given.
    pub email: Option<String>,
    /// `None`: not given.
    pub first_name: Option<String>,
    /// `None`: not given.
    pub last_name: Option<String>,
    /// The row is there, the user is not.
    pub deleted: bool,
}

/// A row of `usergroups`.
#[derive(Clone, Default, Debug)]
pub struct OldGroup {
    /// Primary key.
    pub uid: String,
    /// Not unique there.
    pub label: String,
    /// The row is there, the group is not.
    pub deleted: bool,
}

/// A row of `apps`.
#[derive(Clone, Default, Debug)]
pub struct OldApp {
    /// Primary key.
    pub uid: String,
    /// Unique; of an app of the chain its address.
    pub name: String,
    /// Name of the type, as `DOCKER`.
    pub kind: String,
    /// `NAME=value` pairs, among them `XWDOCKERIMAGE`.
    pub envvars: String,
    /// In nRLC; `None`: not given.
    pub price: Option<i64>,
    /// `uid` of the user.
    pub owner: String,
    /// The row is there, the app is not.
    pub deleted: bool,
}

/// A category of the chain and what its works may use; here and there the same. No number is negative.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Category {
    /// Its number on the chain.
    pub id: i64,
    /// Any text.
    pub name: String,
    /// Seconds.
    pub work_clock_s: i64,
    /// Bytes; `None`: no limit.
    pub memory_bytes: Option<i64>,
    /// Likewise.
    pub disk_bytes: Option<i64>,
    /// Of one file, likewise.
    pub file_bytes: Option<i64>,
}

/// What is in the tables already: names with where they came from, `None`: from nowhere else.
#[derive(Clone, Default, Debug)]
pub struct Present {
    /// By login.
    pub accounts: BTreeMap<String, Option<String>>,
    /// By name.
    pub groups: BTreeMap<String, Option<String>>,
    /// Group and login.
    pub memberships: BTreeSet<(String, String)>,
    /// By name.
    pub apps: BTreeMap<String, Option<String>>,
    /// By number.
    pub categories: BTreeMap<i64, Category>,
}

/// An account that is added. Its password is to be hashed, and to be changed at the first login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAccount {
    /// Login.
    pub login: String,
    /// What it may do.
    pub role: Role,
    /// `None`: nobody can log in with it until it gets one.
    pub password: Option<Secret>,
    /// `None`: not given.
    pub email: Option<String>,
    /// `None`: not given.
    pub first_name: Option<String>,
    /// `None`: not given.
    pub last_name: Option<String>,
    /// Of a login that is an address.
    pub wallet: Option<String>,
    /// Where it came from.
    pub origin: String,
}

/// A group that is added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewGroup {
    /// Name.
    pub name: String,
    /// Where it came from.
    pub origin: String,
}

/// An app that is added; its kind is `docker`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewApp {
    /// Name.
    pub name: String,
    /// What docker is to run.
    pub image: String,
    /// On the chain.
    pub address: Option<String>,
    /// In nRLC.
    pub price: Option<i64>,
    /// Login.
    pub owner: Option<String>,
    /// Where it came from.
    pub origin: String,
}
