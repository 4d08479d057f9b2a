//! What is said to a person whose account a server does not let in, or not do this.

use testkit::on_every_server;
use testkit::sql::SqlKind;

use super::*;

on_every_server!(who_is_denied_hears_what_to_do);

/// An account that may look, and no more.
const READER: &str = "CREATE USER reader@'%' IDENTIFIED BY 'r'; GRANT SELECT ON *.* TO reader@'%'";

fn who_is_denied_hears_what_to_do(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let refused = |change: &dyn Fn(&mut MySqlTarget)| {
        let mut target = target.clone();
        change(&mut target);
        let target = Target::MySql(Box::new(target));
        runtime()
            .block_on(Database::open(&target))
            .expect_err("it is denied")
    };
    runtime().block_on(server.run(READER));
    let password = refused(&|target| target.password = "wrong".to_owned());
    let database = refused(&|target| target.database = "elsewhere".to_owned());
    let reader = refused(&|target| {
        target.user = "reader".to_owned();
        target.password = "r".to_owned();
    });
    for (error, cure) in [
        (password, "name and password"),
        (database, "look at the name of the database"),
        (reader, "pool db migrate"),
    ] {
        assert!(error.is_denied(), "{error:?}");
        assert!(error.cure().is_some_and(|text| text.contains(cure)), "{error:?}");
        assert!(
            error.is_passing(),
            "whoever looks after the server may let it in: {error:?}"
        );
    }
}

#[test]
fn a_file_without_a_folder_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Target::Sqlite(folder.path().join("nowhere").join("pool.sqlite"));
    let refused = runtime()
        .block_on(Database::open(&file))
        .expect_err("there is no folder");
    assert!(!refused.is_denied(), "{refused:?}");
    assert!(
        refused.cure().is_some_and(|cure| cure.contains("the folder")),
        "{refused:?}"
    );
}

#[test]
fn an_account_that_wants_tls_says_how() {
    let server = SqlServer::start(SqlKind::MySql);
    // MySQL 5.7 has no caching_sha2_password.
    let plugin = match runtime().block_on(server.version()) {
        old if old.starts_with("5.7") => "sha256_password",
        _ => "caching_sha2_password",
    };
    let account =
        format!("CREATE USER cautious@'%' IDENTIFIED WITH {plugin} BY 'c'; GRANT ALL ON *.* TO cautious@'%'");
    runtime().block_on(server.run(&account));
    let target = MySqlTarget {
        user: "cautious".to_owned(),
        password: "c".to_owned(),
        tls: Tls::Off,
        ..mysql_target(&server)
    };
    let refused = runtime().block_on(Database::open(&Target::MySql(Box::new(target))));
    let refused = refused.expect_err("it wants TLS");
    assert!(
        refused
            .cure()
            .is_some_and(|cure| cure.contains("POOL_DB_TLS=require")),
        "{refused:?}"
    );
}
