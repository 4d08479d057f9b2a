//! A small database as XtremWeb-HEP 13 has it: the tables of which something comes over, in latin1, with the rows of a pool
//! that was used.

use super::SqlServer;

/// Tables with the columns that its template gives them, as far as a row here says something in them.
const TABLES: &str = "
CREATE TABLE users (
    uid CHAR(36) NOT NULL PRIMARY KEY, login VARCHAR(254) NOT NULL UNIQUE, userRightId TINYINT UNSIGNED NOT NULL DEFAULT 255,
    rights VARCHAR(254) NOT NULL DEFAULT 'NONE', usergroupUID CHAR(36), ownerUID CHAR(36) NOT NULL, mtime TIMESTAMP NULL,
    nbJobs INT DEFAULT 0, certificate TEXT, accessRights INT DEFAULT 1792, password VARCHAR(254) NOT NULL DEFAULT '',
    email VARCHAR(254) NOT NULL DEFAULT '', fname VARCHAR(254), lname VARCHAR(254), isdeleted CHAR(5) DEFAULT 'false'
) DEFAULT CHARACTER SET latin1;
CREATE TABLE usergroups (
    uid CHAR(36) NOT NULL PRIMARY KEY, label VARCHAR(254) NOT NULL, ownerUID CHAR(36) NOT NULL, mtime TIMESTAMP NULL,
    project CHAR(5) DEFAULT 'true', isdeleted CHAR(5) DEFAULT 'false'
) DEFAULT CHARACTER SET latin1;
CREATE TABLE memberships (
    userUID CHAR(36) NOT NULL, usergroupUID CHAR(36) NOT NULL, mtime TIMESTAMP NULL
) DEFAULT CHARACTER SET latin1;
CREATE TABLE apps (
    uid CHAR(36) NOT NULL PRIMARY KEY, name VARCHAR(254) NOT NULL UNIQUE, appTypeId TINYINT UNSIGNED NOT NULL DEFAULT 255,
    type VARCHAR(254) NOT NULL DEFAULT 'NONE', ownerUID CHAR(36) NOT NULL, mtime TIMESTAMP NULL, envvars VARCHAR(254),
    isdeleted CHAR(5) DEFAULT 'false', minFreeMassStorage BIGINT DEFAULT 0, price BIGINT DEFAULT 0
) DEFAULT CHARACTER SET latin1;
CREATE TABLE categories (
    categoryId BIGINT NOT NULL UNIQUE, uid CHAR(36) NOT NULL PRIMARY KEY, ownerUID CHAR(36) NOT NULL, mtime TIMESTAMP NULL,
    name VARCHAR(254) NOT NULL DEFAULT 'NONE', maxWallClockTime INT NOT NULL DEFAULT 300,
    maxFreeMassStorage BIGINT NOT NULL DEFAULT 5368709120, maxFileSize BIGINT NOT NULL DEFAULT 104857600,
    maxMemory BIGINT NOT NULL DEFAULT 536870912, maxCpuSpeed FLOAT NOT NULL DEFAULT 0.5
) DEFAULT CHARACTER SET latin1";

const ROWS: &str = "
INSERT INTO users (uid, login, rights, usergroupUID, ownerUID, password, email, fname, lname, isdeleted) VALUES
    ('u-admin', 'root', 'SUPER_USER', NULL, 'u-admin', 'toor', '', NULL, NULL, 'false'),
    ('u-worker', 'worker', 'WORKER_USER', 'g-workers', 'u-admin', 'w''\\\\\"w', '', NULL, NULL, 'false'),
    ('u-rene', 'René', 'STANDARD_USER', NULL, 'u-admin', 'pässword', 'rene@example.org', 'René', 'D''Arc', 'false'),
    ('u-mute', '0xABCDEF0123456789ABCDEF0123456789ABCDEF01', 'STANDARD_USER', 'g-people', 'u-admin', '', '', NULL, NULL, 'false'),
    ('u-mandated', 'mandated', 'MANDATED_USER', NULL, 'u-admin', 'x', '', NULL, NULL, 'false'),
    ('u-gone', 'gone', 'STANDARD_USER', 'g-people', 'u-admin', 'x', '', NULL, NULL, 'true');
INSERT INTO usergroups (uid, label, ownerUID) VALUES ('g-workers', 'workers', 'u-admin'), ('g-people', 'gens', 'u-admin');
INSERT INTO memberships (userUID, usergroupUID) VALUES
    ('u-rene', 'g-people'), ('u-rene', 'g-people'), ('u-mute', 'g-people'), ('u-gone', 'g-people');
INSERT INTO apps (uid, name, type, ownerUID, envvars, price) VALUES
    ('a-blender', 'blender', 'DOCKER', 'u-rene', 'XWDOCKERIMAGE=ericro/blender', 7),
    ('a-ls', 'ls', 'DEPLOYABLE', 'u-admin', NULL, 0);
INSERT INTO categories (categoryId, uid, ownerUID, name, maxMemory) VALUES
    (1, 'c-1', 'u-admin', 'XS', 268435456), (2, 'c-2', 'u-admin', 'S', 0)";

/// Makes one; its name. [`super::USER`] may read it.
///
/// # Panics
/// The server is not there.
pub async fn database(server: &SqlServer) -> String {
    let name = server.database().await;
    server.run(&format!("USE {name}; {TABLES}; {ROWS}")).await;
    name
}
