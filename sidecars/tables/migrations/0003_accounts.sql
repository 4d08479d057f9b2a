-- Who may log in, what there is to run, and files: what the gateway keeps. `origin` says where a row came from if it was
-- imported.

-- `password_hash` is a PHC string (argon2id).
CREATE TABLE pool_accounts (
    login VARCHAR(256) NOT NULL PRIMARY KEY,
    role VARCHAR(16) NOT NULL,
    password_hash VARCHAR(256) NOT NULL,
    must_change SMALLINT NOT NULL DEFAULT 0,
    first_name VARCHAR(256),
    last_name VARCHAR(256),
    email VARCHAR(256),
    wallet CHAR(42),
    origin VARCHAR(64),
    created_us BIGINT NOT NULL
);

CREATE TABLE pool_groups (
    name VARCHAR(256) NOT NULL PRIMARY KEY,
    origin VARCHAR(64),
    created_us BIGINT NOT NULL
);

CREATE TABLE pool_memberships (
    group_name VARCHAR(256) NOT NULL,
    login VARCHAR(256) NOT NULL,
    PRIMARY KEY (group_name, login)
);

-- `kind` is the executor, `image` what it is given: `docker:alpine` is the image alpine of the kind docker.
CREATE TABLE pool_apps (
    name VARCHAR(256) NOT NULL PRIMARY KEY,
    kind VARCHAR(256) NOT NULL,
    image VARCHAR(256),
    address CHAR(42),
    price_nrlc BIGINT,
    owner VARCHAR(256),
    origin VARCHAR(64),
    created_us BIGINT NOT NULL
);

-- Content-addressed: `sha256` is hexadecimal.
CREATE TABLE pool_files (
    sha256 CHAR(64) NOT NULL PRIMARY KEY,
    bytes BIGINT NOT NULL,
    name VARCHAR(256) NOT NULL,
    media_type VARCHAR(128),
    owner VARCHAR(256) NOT NULL,
    work_id BIGINT,
    stored_us BIGINT NOT NULL
);
CREATE INDEX pool_files_by_work ON pool_files (work_id);

INSERT INTO pool_schema_versions (version) VALUES (3);
