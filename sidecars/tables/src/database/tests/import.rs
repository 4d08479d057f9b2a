//! What comes over from a database of XtremWeb-HEP.

use testkit::on_every_server;
use testkit::sql::{SqlKind, predecessor};

use super::*;
use crate::account::verify_password;
use crate::import::{Fate, Import, Predecessor, plan};

on_every_server!(
    another_database_is_no_predecessor,
    a_version_may_lack_tables_and_columns,
    a_number_that_is_none_is_named,
);

const NOW_US: i64 = 1_700_000_000_000_000;

/// Accounts, groups, apps and categories as text.
const QUERIES: [&str; 5] = [
    "SELECT CONCAT(login, ' ', role, ' ', must_change, ' ', COALESCE(first_name, '-'), ' ', COALESCE(last_name, '-'), ' ', \
     COALESCE(email, '-'), ' ', COALESCE(wallet, '-'), ' ', origin, ' ', created_us) FROM pool_accounts ORDER BY origin",
    "SELECT CONCAT(name, ' ', origin) FROM pool_groups ORDER BY name",
    "SELECT CONCAT(group_name, ' ', login) FROM pool_memberships ORDER BY group_name, login DESC",
    "SELECT CONCAT(name, ' ', kind, ' ', image, ' ', price_nrlc, ' ', owner, ' ', origin) FROM pool_apps ORDER BY name",
    "SELECT CONCAT(category_id, ' ', name, ' ', work_clock_s, ' ', COALESCE(memory_bytes, 0), ' ', disk_bytes, ' ', \
     file_bytes) FROM pool_categories ORDER BY category_id",
];

/// What comes of [`predecessor`].
const ROWS: [&str; 12] = [
    "root admin 1 - - - - xwhep:u-admin 1700000000000000",
    "0xABCDEF0123456789ABCDEF0123456789ABCDEF01 user 1 - - - 0xabcdef0123456789abcdef0123456789abcdef01 xwhep:u-mute \
     1700000000000000",
    "René user 1 René D'Arc rene@example.org - xwhep:u-rene 1700000000000000",
    "worker worker 1 - - - - xwhep:u-worker 1700000000000000",
    "gens xwhep:g-people",
    "workers xwhep:g-workers",
    "gens René",
    "gens 0xABCDEF0123456789ABCDEF0123456789ABCDEF01",
    "workers worker",
    "blender docker ericro/blender 7 René xwhep:a-blender",
    "1 XS 300 268435456 5368709120 104857600",
    "2 S 300 0 5368709120 104857600",
];

async fn everything(database: &mut Database) -> Vec<String> {
    let mut all = Vec::new();
    for query in QUERIES {
        all.extend(texts(database, query).await);
    }
    all
}

async fn planned(theirs: &Predecessor, database: &mut Database) -> Import {
    plan(theirs, &database.present().await.expect("it can be read"))
}

#[test]
fn what_comes_over_is_in_the_tables_and_comes_over_once() {
    let databases = Databases::start();
    for server in &databases.servers {
        let source = at(server, runtime().block_on(predecessor::database(server)));
        for target in &databases.fresh() {
            runtime().block_on(async {
                let theirs = Predecessor::read(&source).await.expect("it is there");
                assert_eq!(theirs.missing, [""; 0]);
                let mut database = open(target).await;
                let import = planned(&theirs, &mut database).await;
                assert!(!import.has_conflicts(), "{:?}", import.items);
                let mut hashed = 0;
                let done = database.import(&import, NOW_US, || hashed += 1).await;
                done.expect("nothing is in the way");
                assert_eq!(hashed, import.accounts.len());
                assert_eq!(everything(&mut database).await, ROWS, "{target}");
                passwords(&mut database).await;

                let again = planned(&theirs, &mut database).await;
                let is_new =
                    |item: &&crate::ImportItem| matches!(item.fate, Fate::Added(_) | Fate::Conflict(_));
                assert_eq!(again.items.iter().find(is_new), None);
                let done = database.import(&again, NOW_US + 1, || ()).await;
                done.expect("there is nothing to do");
                assert_eq!(everything(&mut database).await, ROWS, "{target}");
            });
        }
    }
}

/// They are those of [`predecessor`], and none is in clear.
async fn passwords(database: &mut Database) {
    let hashes = texts(
        database,
        "SELECT password_hash FROM pool_accounts ORDER BY origin",
    )
    .await;
    let given = ["toor", "", "pässword", "w'\\\"w"];
    for (password, hash) in given.iter().zip(&hashes) {
        assert_eq!(
            verify_password(password, hash),
            !password.is_empty(),
            "{password}: {hash}"
        );
    }
}

#[test]
fn what_somebody_else_added_meanwhile_leaves_all_as_it_was() {
    let databases = Databases::start();
    let server = &databases.servers[0];
    let source = at(server, runtime().block_on(predecessor::database(server)));
    for target in &databases.fresh() {
        runtime().block_on(async {
            let theirs = Predecessor::read(&source).await.expect("it is there");
            let mut database = open(target).await;
            let import = planned(&theirs, &mut database).await;
            let other = "INSERT INTO pool_apps (name, kind, image, price_nrlc, owner, origin, created_us) \
                         VALUES ('blender', 'docker', 'x', 0, 'x', 'x', 0)";
            open(target)
                .await
                .session
                .run(fixed(other))
                .await
                .expect("it is valid");
            let refused = database.import(&import, NOW_US, || ()).await;
            let refused = refused.expect_err("the app is there");
            assert!(!refused.is_passing(), "{refused:?}");
            assert_eq!(everything(&mut database).await, ["blender docker x 0 x x"]);
        });
    }
}

/// What comes of reading a database in which this was done.
fn read_after(kind: SqlKind, statements: &str) -> Result<Predecessor, PredecessorError> {
    let server = SqlServer::start(kind);
    runtime().block_on(async {
        let database = predecessor::database(&server).await;
        server.run(&format!("USE {database}; {statements}")).await;
        Predecessor::read(&at(&server, database)).await
    })
}

fn another_database_is_no_predecessor(kind: SqlKind) {
    let refused = read_after(kind, "DROP TABLE users").expect_err("it has no users");
    assert_eq!(
        refused.to_string(),
        "it is no database of XtremWeb-HEP: it has no table `users` with uid, login, rights, password"
    );
    let refused = read_after(kind, "ALTER TABLE users DROP COLUMN password").expect_err("no passwords");
    assert!(refused.to_string().ends_with("with password"), "{refused}");

    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let refused = runtime().block_on(async {
        open(&Target::MySql(Box::new(target.clone()))).await;
        Predecessor::read(&target).await
    });
    let refused = refused.expect_err("it is ours");
    assert!(matches!(refused, PredecessorError::Ours), "{refused}");
}

fn a_version_may_lack_tables_and_columns(kind: SqlKind) {
    let lacking = "DROP TABLE categories; ALTER TABLE usergroups DROP COLUMN label; ALTER TABLE apps DROP COLUMN price; \
                   ALTER TABLE users DROP COLUMN usergroupUID, DROP COLUMN isdeleted";
    let theirs = read_after(kind, lacking).expect("users are there");
    assert_eq!(theirs.missing, ["usergroups", "categories"]);
    assert!(theirs.groups.is_empty() && theirs.categories.is_empty());
    assert_eq!((theirs.users.len(), theirs.apps.len()), (6, 2));
    assert!(theirs.users.iter().all(|user| !user.deleted));
    assert!(theirs.apps.iter().all(|app| app.price.is_none()));
    assert_eq!(theirs.memberships.len(), 3, "each once");
}

fn a_number_that_is_none_is_named(kind: SqlKind) {
    for (spoilt, named) in [
        (
            "UPDATE categories SET maxWallClockTime = -1 WHERE categoryId = 2",
            "`categories` has a row 2 whose `maxWallClockTime` is -1; set it to a whole number from 0 on",
        ),
        (
            "UPDATE apps SET price = -7 WHERE name = 'blender'",
            "`apps` has a row a-blender whose `price` is -7; set it to a whole number from 0 on",
        ),
    ] {
        let refused = read_after(kind, spoilt).expect_err("it is none");
        assert_eq!(refused.to_string(), named);
    }
}

#[test]
fn a_row_of_ours_that_makes_no_sense_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let mut database = open(&Target::Sqlite(folder.path().join("pool.sqlite"))).await;
        // SQLite alone keeps a text where a number belongs.
        let spoilt = "INSERT INTO pool_categories (category_id, name, description, work_clock_s, changed_us) \
                      VALUES (4, 'small', '', 'long', 0)";
        database.session.run(fixed(spoilt)).await.expect("it is kept");
        let refused = database.present().await.expect_err("it is no number");
        assert!(
            refused.to_string().starts_with(
                "a row of pool_categories: work_clock_s \"long\" in the database makes no sense"
            ),
            "{refused}"
        );
    });
}
