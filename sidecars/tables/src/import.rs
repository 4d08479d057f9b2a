//! What comes over from a database of XtremWeb-HEP: decided here, from what is there and what is in the tables.
//!
//! ```text
//!  Predecessor ─┐
//!               ├─► plan ──► Import: what is added, and of every row what becomes of it
//!  Present ─────┘
//! ```
//!
//! A row that came over is recognised by its `origin`, the `uid` of the row there; so it comes over once, and stays what
//! it has become since. A row that is here under the same name and came from elsewhere is a conflict: whose it is
//! cannot be known. What this pool has no counterpart for is left behind, with the reason.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::account::Role;
pub use rows::{
    Category, NewAccount, NewApp, NewGroup, OldApp, OldGroup, OldUser, Predecessor, Present, Secret,
};

/// What is to be done.
#[derive(Clone, Default, Debug)]
pub struct Import {
    /// Every row of theirs, and what becomes of it.
    pub items: Vec<ImportItem>,
    /// To be added, as all that follow.
    pub accounts: Vec<NewAccount>,
    /// Groups.
    pub groups: Vec<NewGroup>,
    /// Group and login.
    pub memberships: Vec<(String, String)>,
    /// Apps.
    pub apps: Vec<NewApp>,
    /// Categories.
    pub categories: Vec<Category>,
}

/// A row of theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportItem {
    /// What it is.
    pub kind: ImportKind,
    /// What it is called.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What a row of theirs is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ImportKind {
    /// A user, who becomes an account.
    User,
    /// A group of users.
    Group,
    /// A user in a group.
    Membership,
    /// An app.
    App,
    /// A category.
    Category,
}

impl fmt::Display for ImportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Membership => "membership",
            Self::App => "app",
            Self::Category => "category",
        })
    }
}

/// What becomes of a row of theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is added, as this.
    Added(String),
    /// It came over before.
    Known,
    /// It stays behind.
    Skipped(Skipped),
    /// It cannot be told apart from something that is here.
    Conflict(Conflict),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added(_) => "added",
            Self::Known => "known",
            Self::Skipped(_) => "skipped",
            Self::Conflict(_) => "conflict",
        })
    }
}

impl Fate {
    /// As what it is added, or why it is not; empty where there is nothing to say.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Added(detail) => detail.clone(),
            Self::Known => String::new(),
            Self::Skipped(why) => why.to_string(),
            Self::Conflict(why) => why.to_string(),
        }
    }
}

/// Why a row stays behind.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Skipped {
    /// The predecessor marks rows, and keeps them.
    #[error("it is deleted there")]
    Deleted,
    /// A right that no role stands for.
    #[error("no role stands for the right `{0}`; make an account for it by hand")]
    Right(String),
    /// A name with nothing in it, or with a control character.
    #[error("its name is empty or has characters that cannot be seen")]
    Name,
    /// An app that no worker of this pool can run.
    #[error("workers run no apps of the type `{0}`, only DOCKER")]
    Type(String),
    /// An app of docker without an image.
    #[error("its envvars name no image in XWDOCKERIMAGE")]
    NoImage,
    /// A category that is here.
    #[error("its name or its limits are others here; the pool keeps its own")]
    Differs,
    /// The user or the group of a membership stays behind.
    #[error("the user or the group does not come over")]
    Apart,
}

/// Why a row is not added though it could be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Conflict {
    /// One of that name is here and did not come from there.
    #[error("there is one of that name here already, which did not come from there; rename one of the two")]
    Taken,
    /// Two of theirs would be one here.
    #[error("another one there has the same name; rename one of the two")]
    Twice,
}

impl Import {
    /// Whether a row could not be told apart from something that is here.
    #[must_use]
    pub fn has_conflicts(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item.fate, Fate::Conflict(_)))
    }

    fn note(&mut self, kind: ImportKind, name: &str, fate: Fate) {
        self.items.push(ImportItem {
            kind,
            name: name.to_owned(),
            fate,
        });
    }
}

/// Decides what of theirs is added to ours. All that comes over in one import comes over in one transaction.
#[must_use]
pub fn plan(theirs: &Predecessor, ours: &Present) -> Import {
    let mut import = Import::default();
    let logins = accounts(theirs, ours, &mut import);
    let groups = groups(theirs, ours, &mut import);
    memberships(theirs, ours, &logins, &groups, &mut import);
    apps(theirs, ours, &logins, &mut import);
    categories(theirs, ours, &mut import);
    import
}

/// Where a row came from.
fn origin(uid: &str) -> String {
    format!("xwhep:{uid}")
}

/// Names of rows of one kind: those that are here, and those that are being added.
struct Names<'a> {
    ours: &'a BTreeMap<String, Option<String>>,
    by_origin: BTreeMap<&'a str, &'a str>,
    added: BTreeSet<String>,
    /// Names here by the `uid`s there, of all that came over or does.
    by_uid: BTreeMap<&'a str, String>,
}

impl<'a> Names<'a> {
    fn new(ours: &'a BTreeMap<String, Option<String>>) -> Self {
        let by_origin = ours
            .iter()
            .filter_map(|(name, origin)| Some((origin.as_deref()?, name.as_str())))
            .collect();
        Self {
            ours,
            by_origin,
            added: BTreeSet::new(),
            by_uid: BTreeMap::new(),
        }
    }

    /// What becomes of a row of theirs; `make` says what would be added and how that is described.
    fn take<T>(
        &mut self,
        (uid, name, deleted): (&'a str, &str, bool),
        added: &mut Vec<T>,
        make: impl FnOnce() -> Result<(T, String), Skipped>,
    ) -> Fate {
        if deleted {
            return Fate::Skipped(Skipped::Deleted);
        }
        if let Some(here) = self.by_origin.get(origin(uid).as_str()) {
            self.by_uid.insert(uid, (*here).to_owned());
            return Fate::Known;
        }
        // A name can be said and written.
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Fate::Skipped(Skipped::Name);
        }
        match make() {
            Err(why) => Fate::Skipped(why),
            Ok(_) if self.ours.contains_key(name) => Fate::Conflict(Conflict::Taken),
            Ok(_) if !self.added.insert(name.to_owned()) => Fate::Conflict(Conflict::Twice),
            Ok((row, detail)) => {
                self.by_uid.insert(uid, name.to_owned());
                added.push(row);
                Fate::Added(detail)
            }
        }
    }
}

/// The accounts; logins here by the `uid`s there.
fn accounts<'a>(
    theirs: &'a Predecessor,
    ours: &'a Present,
    import: &mut Import,
) -> BTreeMap<&'a str, String> {
    let mut names = Names::new(&ours.accounts);
    for user in &theirs.users {
        let row = (user.uid.as_str(), user.login.as_str(), user.deleted);
        let fate = names.take(row, &mut import.accounts, || {
            let role = role(&user.rights).ok_or_else(|| Skipped::Right(user.rights.clone()))?;
            let account = account(user, role);
            let detail = described(&account);
            Ok((account, detail))
        });
        import.note(ImportKind::User, &user.login, fate);
    }
    names.by_uid
}

/// Who was trusted with something of everybody's is an operator, who acts as somebody else or has a single right is
/// nobody here.
fn role(rights: &str) -> Option<Role> {
    match rights {
        "SUPER_USER" => Some(Role::Admin),
        "ADVANCED_USER" => Some(Role::Operator),
        "STANDARD_USER" => Some(Role::User),
        "WORKER_USER" | "VWORKER_USER" => Some(Role::Worker),
        _ => None,
    }
}

fn account(user: &OldUser, role: Role) -> NewAccount {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    NewAccount {
        login: user.login.clone(),
        role,
        password: (!user.password.0.is_empty()).then(|| user.password.clone()),
        email: given(&user.email),
        first_name: given(&user.first_name),
        last_name: given(&user.last_name),
        wallet: address(&user.login),
        origin: origin(&user.uid),
    }
}

fn described(account: &NewAccount) -> String {
    let role = account.role.name();
    match account.password {
        Some(_) => format!("as {role}"),
        None => format!("as {role}; it has no password there, so nobody can log in until it gets one"),
    }
}

/// An address of the chain, in small letters, if this is one.
fn address(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    let is_one = digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

/// The groups; names here by the `uid`s there.
fn groups<'a>(theirs: &'a Predecessor, ours: &'a Present, import: &mut Import) -> BTreeMap<&'a str, String> {
    let mut names = Names::new(&ours.groups);
    for group in &theirs.groups {
        let row = (group.uid.as_str(), group.label.as_str(), group.deleted);
        let fate = names.take(row, &mut import.groups, || {
            let group = NewGroup {
                name: group.label.clone(),
                origin: origin(&group.uid),
            };
            Ok((group, String::new()))
        });
        import.note(ImportKind::Group, &group.label, fate);
    }
    names.by_uid
}

fn memberships(
    theirs: &Predecessor,
    ours: &Present,
    logins: &BTreeMap<&str, String>,
    groups: &BTreeMap<&str, String>,
    import: &mut Import,
) {
    // Who stays behind is called as there.
    let users = theirs.users.iter().map(|user| (user.uid.as_str(), &user.login));
    let labels = theirs
        .groups
        .iter()
        .map(|group| (group.uid.as_str(), &group.label));
    let (users, labels): (BTreeMap<_, _>, BTreeMap<_, _>) = (users.collect(), labels.collect());
    for (user, group) in &theirs.memberships {
        let (login, name) = (logins.get(user.as_str()), groups.get(group.as_str()));
        let fate = match (login, name) {
            (Some(login), Some(name)) => {
                let pair = (name.clone(), login.clone());
                if ours.memberships.contains(&pair) {
                    Fate::Known
                } else {
                    import.memberships.push(pair);
                    Fate::Added(String::new())
                }
            }
            _ => Fate::Skipped(Skipped::Apart),
        };
        let called = format!(
            "{} in {}",
            login.or(users.get(user.as_str()).copied()).unwrap_or(user),
            name.or(labels.get(group.as_str()).copied()).unwrap_or(group)
        );
        import.note(ImportKind::Membership, &called, fate);
    }
}

fn apps(theirs: &Predecessor, ours: &Present, logins: &BTreeMap<&str, String>, import: &mut Import) {
    let mut names = Names::new(&ours.apps);
    for app in &theirs.apps {
        let row = (app.uid.as_str(), app.name.as_str(), app.deleted);
        let fate = names.take(row, &mut import.apps, || {
            if app.kind != "DOCKER" {
                return Err(Skipped::Type(app.kind.clone()));
            }
            let image = image(&app.envvars).ok_or(Skipped::NoImage)?;
            let added = NewApp {
                name: app.name.clone(),
                image: image.to_owned(),
                address: address(&app.name),
                price: app.price,
                owner: logins.get(app.owner.as_str()).cloned(),
                origin: origin(&app.uid),
            };
            Ok((added, format!("as docker:{image}")))
        });
        import.note(ImportKind::App, &app.name, fate);
    }
}

/// The image that environment variables name. They are parted by commas, semicolons or blanks, none of which an image's
/// name has.
fn image(envvars: &str) -> Option<&str> {
    let mut pairs = envvars.split([',', ';', ' ', '\t', '\n', '\r']);
    let image = pairs.find_map(|pair| pair.strip_prefix("XWDOCKERIMAGE="))?;
    let image = image.trim_matches(['"', '\'']);
    (!image.is_empty()).then_some(image)
}

fn categories(theirs: &Predecessor, ours: &Present, import: &mut Import) {
    let mut added = BTreeSet::new();
    for category in &theirs.categories {
        let fate = match ours.categories.get(&category.id) {
            Some(same) if same == category => Fate::Known,
            Some(_) => Fate::Skipped(Skipped::Differs),
            None if !added.insert(category.id) => Fate::Conflict(Conflict::Twice),
            None => {
                import.categories.push(category.clone());
                Fate::Added(limits(category))
            }
        };
        let name = format!("{} {}", category.id, category.name);
        import.note(ImportKind::Category, &name, fate);
    }
}

fn limits(category: &Category) -> String {
    let bytes = |what: &str, bytes: Option<i64>| bytes.map(|bytes| format!(", {bytes} bytes of {what}"));
    let more = [
        bytes("memory", category.memory_bytes),
        bytes("disk", category.disk_bytes),
        bytes("one file", category.file_bytes),
    ];
    let more: String = more.into_iter().flatten().collect();
    format!("{} s{more}", category.work_clock_s)
}

#[cfg(test)]
mod tests;
