//! What an import adds to the tables, and what is there before it.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::Columns;
use super::session::{Session, Value, fixed, made};
use super::{Database, DatabaseError, Reader, sql};
use crate::account::{NO_PASSWORD, hash_password};
use crate::import::{Category, Import, NewAccount, NewApp, NewGroup, Present};

const STEP: &str = "import into";

impl Reader {
    /// What is there before an import.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn present(&mut self) -> Result<Present, DatabaseError> {
        present(&mut self.session).await
    }
}

impl Database {
    /// What is there before an import.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn present(&mut self) -> Result<Present, DatabaseError> {
        present(&mut self.session).await
    }

    /// Adds what is to be added, all of it or nothing. Passwords are hashed first, one after the other on this thread;
    /// `tell` hears of each.
    ///
    /// # Errors
    /// See [`DatabaseError`]. What somebody else has added since [`Self::present`] is refused by the keys of the tables.
    pub async fn import(
        &mut self,
        import: &Import,
        now_us: i64,
        mut tell: impl FnMut(),
    ) -> Result<(), DatabaseError> {
        // Before the transaction, which is to be short.
        let hash = |account: &NewAccount| {
            let hash = account
                .password
                .as_ref()
                .map(|password| hash_password(&password.0));
            tell();
            hash.unwrap_or_else(|| NO_PASSWORD.to_owned())
        };
        let hashes: Vec<_> = import.accounts.iter().map(hash).collect();
        let session = &mut self.session;
        session.begin_writing().await.map_err(sql(STEP))?;
        match write(session, import, &hashes, now_us).await {
            Ok(()) => session.commit().await.map_err(sql(STEP)),
            Err(error) => {
                // What fails here has ended with its connection.
                drop(session.rollback().await);
                Err(sql(STEP)(error))
            }
        }
    }
}

async fn present(session: &mut Session) -> Result<Present, DatabaseError> {
    session.begin_reading().await.map_err(sql(STEP))?;
    let found = read(session).await;
    // It only read: what fails here has ended with its connection.
    session.commit().await.map_err(sql(STEP))?;
    found
}

async fn read(session: &mut Session) -> Result<Present, DatabaseError> {
    let pair = |row: &mut Columns<'_>| Ok((row.text()?, row.text()?));
    let memberships = rows(session, "pool_memberships", "group_name, login", pair).await?;
    let categories = rows(
        session,
        "pool_categories",
        "category_id, name, work_clock_s, memory_bytes, disk_bytes, file_bytes",
        category,
    )
    .await?;
    let origin = |row: &mut Columns<'_>| Ok((row.text()?, row.text_or_null()?));
    Ok(Present {
        accounts: BTreeMap::from_iter(rows(session, "pool_accounts", "login, origin", origin).await?),
        groups: BTreeMap::from_iter(rows(session, "pool_groups", "name, origin", origin).await?),
        memberships: BTreeSet::from_iter(memberships),
        apps: BTreeMap::from_iter(rows(session, "pool_apps", "name, origin", origin).await?),
        categories: categories
            .into_iter()
            .map(|category| (category.id, category))
            .collect(),
    })
}

/// All rows of a table, each as what `read` makes of these columns.
async fn rows<T>(
    session: &mut Session,
    table: &'static str,
    columns: &'static str,
    read: impl Fn(&mut Columns<'_>) -> Result<T, DatabaseError>,
) -> Result<Vec<T>, DatabaseError> {
    let text = made(format!("SELECT {columns} FROM {table}").into());
    let rows = session
        .values(text, session.arguments())
        .await
        .map_err(sql(STEP))?;
    let row = |row: &Vec<Value>| read(&mut Columns::new(format!("a row of {table}"), columns, row));
    rows.iter().map(row).collect()
}

fn category(row: &mut Columns<'_>) -> Result<Category, DatabaseError> {
    Ok(Category {
        id: row.number()?,
        name: row.text()?,
        work_clock_s: row.number()?,
        memory_bytes: row.number_or_null()?,
        disk_bytes: row.number_or_null()?,
        file_bytes: row.number_or_null()?,
    })
}

async fn write(
    session: &mut Session,
    import: &Import,
    hashes: &[String],
    now_us: i64,
) -> Result<(), sqlx::Error> {
    for (account, hash) in import.accounts.iter().zip(hashes) {
        add_account(session, account, hash, now_us).await?;
    }
    for group in &import.groups {
        add_group(session, group, now_us).await?;
    }
    for (group, login) in &import.memberships {
        let mut arguments = session.arguments();
        arguments.text(group);
        arguments.text(login);
        let text = fixed("INSERT INTO pool_memberships (group_name, login) VALUES (?, ?)");
        session.execute(text, arguments).await?;
    }
    for app in &import.apps {
        add_app(session, app, now_us).await?;
    }
    for category in &import.categories {
        add_category(session, category, now_us).await?;
    }
    Ok(())
}

async fn add_account(
    session: &mut Session,
    account: &NewAccount,
    hash: &str,
    now_us: i64,
) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    arguments.text(&account.login);
    arguments.text(account.role.name());
    arguments.text(hash);
    for text in [
        &account.first_name,
        &account.last_name,
        &account.email,
        &account.wallet,
    ] {
        arguments.text_or_null(text.as_deref());
    }
    arguments.text(&account.origin);
    arguments.int(now_us);
    let text = "INSERT INTO pool_accounts (login, role, password_hash, must_change, first_name, last_name, email, \
                wallet, origin, created_us) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await.map(drop)
}

async fn add_group(session: &mut Session, group: &NewGroup, now_us: i64) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    arguments.text(&group.name);
    arguments.text(&group.origin);
    arguments.int(now_us);
    let text = fixed("INSERT INTO pool_groups (name, origin, created_us) VALUES (?, ?, ?)");
    session.execute(text, arguments).await.map(drop)
}

async fn add_app(session: &mut Session, app: &NewApp, now_us: i64) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    arguments.text(&app.name);
    arguments.text(&app.image);
    arguments.text_or_null(app.address.as_deref());
    arguments.int_or_null(app.price);
    arguments.text_or_null(app.owner.as_deref());
    arguments.text(&app.origin);
    arguments.int(now_us);
    let text = "INSERT INTO pool_apps (name, kind, image, address, price_nrlc, owner, origin, created_us) \
                VALUES (?, 'docker', ?, ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await.map(drop)
}

async fn add_category(session: &mut Session, category: &Category, now_us: i64) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    arguments.int(category.id);
    arguments.text(&category.name);
    arguments.int(category.work_clock_s);
    for bytes in [category.memory_bytes, category.disk_bytes, category.file_bytes] {
        arguments.int_or_null(bytes);
    }
    arguments.int(now_us);
    let text = "INSERT INTO pool_categories (category_id, name, description, work_clock_s, memory_bytes, disk_bytes, \
                file_bytes, changed_us) VALUES (?, ?, '', ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await.map(drop)
}
