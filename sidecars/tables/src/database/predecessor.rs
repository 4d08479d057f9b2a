//! Reads a database of XtremWeb-HEP: one state of it, without changing anything.
//!
//! Its versions differ in what tables and columns they have, so it is asked what there is. Every value is asked for as
//! text, whatever its type is there.

use std::collections::BTreeMap;

use thiserror::Error;

use super::session::{Session, Value, fixed, made};
use super::{DatabaseError, MySqlTarget, mysql, sql};
use crate::import::{Category, OldApp, OldGroup, OldUser, Predecessor, Secret};

const STEP: &str = "read";

/// Why nothing came of it.
#[derive(Debug, Error)]
pub enum PredecessorError {
    /// The database says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It is some other database.
    #[error("it is no database of XtremWeb-HEP: it has no table `users` with {missing}")]
    Foreign {
        /// Columns.
        missing: String,
    },
    /// It is a database of this pool, whose views have the predecessor's names.
    #[error("it is a database of a pool like this one, not of XtremWeb-HEP")]
    Ours,
    /// A value that cannot be.
    #[error("`{table}` has a row {row} whose `{column}` is {value}; {cure}")]
    Row {
        /// Where.
        table: &'static str,
        /// Which: the first column of it.
        row: String,
        /// Which value.
        column: &'static str,
        /// What it says.
        value: String,
        /// What to do.
        cure: &'static str,
    },
}

/// A table there, and what is read of it; the first columns, which every version has, are needed.
struct Wanted {
    table: &'static str,
    needed: usize,
    columns: &'static [&'static str],
}

const USERS: Wanted = Wanted {
    table: "users",
    needed: 4,
    columns: &[
        "uid",
        "login",
        "rights",
        "password",
        "email",
        "fname",
        "lname",
        "isdeleted",
        "usergroupUID",
    ],
};
const GROUPS: Wanted = Wanted {
    table: "usergroups",
    needed: 2,
    columns: &["uid", "label", "isdeleted"],
};
const MEMBERSHIPS: Wanted = Wanted {
    table: "memberships",
    needed: 2,
    columns: &["userUID", "usergroupUID"],
};
const APPS: Wanted = Wanted {
    table: "apps",
    needed: 3,
    columns: &["uid", "name", "type", "envvars", "price", "ownerUID", "isdeleted"],
};
const CATEGORIES: Wanted = Wanted {
    table: "categories",
    needed: 3,
    columns: &[
        "categoryId",
        "name",
        "maxWallClockTime",
        "maxMemory",
        "maxFreeMassStorage",
        "maxFileSize",
    ],
};

/// Columns by table, names in small letters.
type Columns = BTreeMap<String, Vec<String>>;

impl Predecessor {
    /// Reads what may come over.
    ///
    /// # Errors
    /// See [`PredecessorError`].
    pub async fn read(target: &MySqlTarget) -> Result<Self, PredecessorError> {
        let mut session = Session::MySql(mysql::open_read_only(target).await?);
        let begun = fixed("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
        session.run(begun).await.map_err(sql(STEP))?;
        let found = read(&mut session).await;
        session.close().await;
        found
    }
}

async fn read(session: &mut Session) -> Result<Predecessor, PredecessorError> {
    let there = columns(session).await?;
    if there.contains_key("pool_schema_versions") {
        return Err(PredecessorError::Ours);
    }
    let missing = lacking(&USERS, &there);
    if !missing.is_empty() {
        return Err(PredecessorError::Foreign {
            missing: missing.join(", "),
        });
    }
    let mut found = Predecessor::default();
    for row in rows(session, &USERS, &there).await? {
        let [
            uid,
            login,
            rights,
            password,
            email,
            first_name,
            last_name,
            deleted,
            group,
        ] = row;
        let uid = uid.unwrap_or_default();
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            found.memberships.insert((uid.clone(), group));
        }
        found.users.push(OldUser {
            uid,
            login: login.unwrap_or_default(),
            rights: rights.unwrap_or_default(),
            password: Secret(password.unwrap_or_default()),
            email,
            first_name,
            last_name,
            deleted: flag(deleted.as_deref()),
        });
    }
    for wanted in [&GROUPS, &MEMBERSHIPS, &APPS, &CATEGORIES] {
        if !lacking(wanted, &there).is_empty() {
            found.missing.push(wanted.table);
        }
    }
    for [uid, label, deleted] in rows(session, &GROUPS, &there).await? {
        found.groups.push(OldGroup {
            uid: uid.unwrap_or_default(),
            label: label.unwrap_or_default(),
            deleted: flag(deleted.as_deref()),
        });
    }
    for [user, group] in rows(session, &MEMBERSHIPS, &there).await? {
        found.memberships.extend(user.zip(group));
    }
    for [uid, name, kind, envvars, price, owner, deleted] in rows(session, &APPS, &there).await? {
        let uid = uid.unwrap_or_default();
        found.apps.push(OldApp {
            name: name.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            envvars: envvars.unwrap_or_default(),
            price: number(&APPS, &uid, "price", price)?,
            owner: owner.unwrap_or_default(),
            deleted: flag(deleted.as_deref()),
            uid,
        });
    }
    for row in rows(session, &CATEGORIES, &there).await? {
        found.categories.push(category(row)?);
    }
    Ok(found)
}

/// What tables there are.
async fn columns(session: &mut Session) -> Result<Columns, DatabaseError> {
    let text = fixed(
        "SELECT CAST(LOWER(table_name) AS CHAR), CAST(LOWER(column_name) AS CHAR) FROM information_schema.columns \
         WHERE table_schema = DATABASE()",
    );
    let rows = session.values(text, session.arguments()).await;
    let mut columns = Columns::new();
    for row in rows.map_err(sql(STEP))? {
        let mut row = row.into_iter().map(Value::into_text);
        if let (Some(Some(table)), Some(Some(column))) = (row.next(), row.next()) {
            columns.entry(table).or_default().push(column);
        }
    }
    Ok(columns)
}

fn is_there(table: &str, column: &str, there: &Columns) -> bool {
    let column = column.to_ascii_lowercase();
    there.get(table).is_some_and(|columns| columns.contains(&column))
}

/// The columns without which a table cannot be read.
fn lacking(wanted: &Wanted, there: &Columns) -> Vec<&'static str> {
    let needed = wanted.columns[..wanted.needed].iter().copied();
    needed
        .filter(|column| !is_there(wanted.table, column, there))
        .collect()
}

/// All rows of a table, by its first column; none if it cannot be read. What it does not have is `None`.
async fn rows<const COLUMNS: usize>(
    session: &mut Session,
    wanted: &Wanted,
    there: &Columns,
) -> Result<Vec<[Option<String>; COLUMNS]>, DatabaseError> {
    if !lacking(wanted, there).is_empty() {
        return Ok(Vec::new());
    }
    let cast = |column: &&'static str| {
        if is_there(wanted.table, column, there) {
            format!("CAST(`{column}` AS CHAR)")
        } else {
            "NULL".to_owned()
        }
    };
    let columns: Vec<_> = wanted.columns.iter().map(cast).collect();
    let text = format!(
        "SELECT {} FROM `{}` ORDER BY `{}`",
        columns.join(", "),
        wanted.table,
        wanted.columns[0]
    );
    let rows = session.values(made(text.into()), session.arguments()).await;
    let rows = rows.map_err(sql(STEP))?.into_iter();
    Ok(rows
        .map(|row| {
            let mut values = row.into_iter().map(Value::into_text);
            std::array::from_fn(|_| values.next().flatten())
        })
        .collect())
}

fn flag(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// A number of this row that may be left out.
fn number(
    wanted: &Wanted,
    row: &str,
    column: &'static str,
    value: Option<String>,
) -> Result<Option<i64>, PredecessorError> {
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        Ok(number) if number >= 0 => Ok(Some(number)),
        _ => Err(PredecessorError::Row {
            table: wanted.table,
            row: row.to_owned(),
            column,
            value,
            cure: "set it to a whole number from 0 on",
        }),
    }
}

fn category(row: [Option<String>; 6]) -> Result<Category, PredecessorError> {
    let [id, name, clock, memory, disk, file] = row;
    let row = id.clone().unwrap_or_else(|| "NULL".to_owned());
    let number = |column, value: Option<String>| number(&CATEGORIES, &row, column, value);
    // Nobody can do with 0 bytes: it means that nobody said.
    let limit = |column, value| Ok::<_, PredecessorError>(number(column, value)?.filter(|bytes| *bytes > 0));
    let needed = |column, value: Option<String>| {
        number(column, value)?.ok_or_else(|| PredecessorError::Row {
            table: CATEGORIES.table,
            row: row.clone(),
            column,
            value: "NULL".to_owned(),
            cure: "set it to a whole number from 0 on",
        })
    };
    Ok(Category {
        id: needed("categoryId", id)?,
        name: name.unwrap_or_default(),
        work_clock_s: needed("maxWallClockTime", clock)?,
        memory_bytes: limit("maxMemory", memory)?,
        disk_bytes: limit("maxFreeMassStorage", disk)?,
        file_bytes: limit("maxFileSize", file)?,
    })
}
