//! What an import adds to the tables, and what is there before it.

use std::collections::BTreeMap;

use super::session::{Session, Value, fixed};
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

    /// Adds what is to be added, all of it or nothing. Passwords are hashed first, one after the other on this thread,
    /// some 20 ms each; `tell` hears of each.
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
    session.commit().await.map_err(sql(STEP))?;
    found.map_err(sql(STEP))
}

async fn read(session: &mut Session) -> Result<Present, sqlx::Error> {
    let pairs = rows(session, "SELECT group_name, login FROM pool_memberships").await?;
    let categories = rows(
        session,
        "SELECT category_id, name, work_clock_s, memory_bytes, disk_bytes, file_bytes FROM pool_categories",
    )
    .await?;
    Ok(Present {
        accounts: origins(session, "SELECT login, origin FROM pool_accounts").await?,
        groups: origins(session, "SELECT name, origin FROM pool_groups").await?,
        memberships: pairs
            .into_iter()
            .filter_map(|row| {
                let [group, login] = <[Value; 2]>::try_from(row).ok()?;
                Some((group.into_text()?, login.into_text()?))
            })
            .collect(),
        apps: origins(session, "SELECT name, origin FROM pool_apps").await?,
        categories: categories.into_iter().filter_map(category).collect(),
    })
}

async fn rows(session: &mut Session, text: &'static str) -> Result<Vec<Vec<Value>>, sqlx::Error> {
    let arguments = session.arguments();
    session.values(fixed(text), arguments).await
}

/// Names with where they came from.
async fn origins(
    session: &mut Session,
    text: &'static str,
) -> Result<BTreeMap<String, Option<String>>, sqlx::Error> {
    let rows = rows(session, text).await?;
    let row = |row: Vec<Value>| {
        let [name, origin] = <[Value; 2]>::try_from(row).ok()?;
        Some((name.into_text()?, origin.into_text()))
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

fn category(row: Vec<Value>) -> Option<(i64, Category)> {
    let [id, name, clock, memory, disk, file] = <[Value; 6]>::try_from(row).ok()?;
    let id = id.into_number()?;
    let category = Category {
        id,
        name: name.into_text()?,
        work_clock_s: clock.into_number()?,
        memory_bytes: memory.into_number(),
        disk_bytes: disk.into_number(),
        file_bytes: file.into_number(),
    };
    Some((id, category))
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
