//! How the tables come to be, and which ones are left alone.

use testkit::sql::SqlKind;

use super::*;

#[test]
fn a_database_of_a_later_version_is_refused() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let text = fixed("INSERT INTO pool_schema_versions (version) VALUES (99)");
            database.session.run(text).await.expect("the table is there");
            let refused = Database::open(target).await.expect_err("99 is unknown");
            assert!(
                matches!(refused, DatabaseError::NewerSchema { found: 99, .. }),
                "{refused}"
            );
        });
    }
}

#[test]
fn a_database_with_tables_of_another_program_is_refused_and_left_alone() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let text = fixed("DROP TABLE pool_schema_versions");
            database.session.run(text).await.expect("the table is there");
            refused_for(target, "apps").await;
            let text = fixed("SELECT version FROM pool_schema_versions");
            let made = database.session.run(text).await;
            made.expect_err("what is not ours gets no table of ours");
        });
    }
}

#[test]
fn a_database_of_the_predecessor_is_refused_and_left_alone() {
    let databases = Databases::start();
    for (made, named) in [
        ("CREATE TABLE marketorders (id INT)", "marketorders"),
        ("CREATE TABLE Works (id INT)", "Works"),
        ("CREATE VIEW hosts AS SELECT 1 AS id", "hosts"),
    ] {
        for target in &databases.fresh() {
            runtime().block_on(async {
                let mut empty = connect(target).await.expect("it is there");
                empty.run(fixed(made)).await.expect("it is valid");
                refused_for(target, named).await;
                let ours = empty.run(fixed("SELECT version FROM pool_schema_versions")).await;
                ours.expect_err("what is not ours gets no table of ours");
            });
        }
    }
}

#[test]
fn tables_of_other_names_are_in_nobodys_way() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut empty = connect(target).await.expect("it is there");
            let made = fixed("CREATE TABLE notes (id INT)");
            empty.run(made).await.expect("it is valid");
            open(target)
                .await
                .apply(&one_batch())
                .await
                .expect("the tables are there");
        });
    }
}

/// It says which table is in the way and what to do.
async fn refused_for(target: &Target, table: &str) {
    let refused = Database::open(target).await.expect_err("not ours");
    let said = refused.to_string();
    assert!(said.contains(&format!("a table `{table}`")), "{said}");
    assert!(said.ends_with("give it a database of its own"), "{said}");
    assert!(!refused.is_passing(), "{refused:?}");
}

#[test]
fn those_that_open_a_new_database_at_once_make_one_schema() {
    for target in &Databases::start().fresh() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let opened = async {
                        loop {
                            // SQLite does not wait for another that turns the file's journal into a log.
                            match Database::open(target).await {
                                Err(error) if error.is_passing() => tokio::task::yield_now().await,
                                opened => break opened.expect("it opens"),
                            }
                        }
                    };
                    let resume = runtime().block_on(async { opened.await.resume().await });
                    assert_eq!(resume.expect("it has a position").after, Lsn(0));
                });
            }
        });
    }
}

testkit::on_every_server!(
    after_the_migration_an_account_that_may_only_change_rows_is_enough,
    a_migration_that_died_anywhere_is_finished_by_the_next,
);

fn after_the_migration_an_account_that_may_only_change_rows_is_enough(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = Box::new(mysql_target(&server));
    runtime().block_on(async {
        open(&Target::MySql(target.clone())).await;
        let (name, user) = (&target.database, &target.user);
        server
            .run(&format!(
                "REVOKE ALL ON {name}.* FROM {user}@'%'; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {user}@'%'"
            ))
            .await;
        let mut database = open(&Target::MySql(target.clone())).await;
        database.apply(&one_batch()).await.expect("it may");
    });
}

fn a_migration_that_died_anywhere_is_finished_by_the_next(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let statements = migrations::all_statements();
    // Every third has tables, indexes, views and rows among those that are there already.
    for done in (1..=statements.len()).step_by(3) {
        let at = mysql_target(&server);
        let target = Target::MySql(Box::new(at.clone()));
        runtime().block_on(async {
            let mut half = Session::MySql(mysql::open(&at).await.expect("it is there"));
            for statement in &statements[..done] {
                half.run(fixed(statement)).await.expect("it is valid");
            }
            half.close().await;
            let mut database = open(&target).await;
            database
                .apply(&one_batch())
                .await
                .expect("the tables are all there");
            let resume = database.resume().await.expect("it has a position");
            assert_eq!(resume.after, Lsn(2), "after {done} statements");
        });
    }
}
