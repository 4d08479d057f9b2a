-- What the journal says, as tables. Times (…_us) are UTC, microseconds since 1970. No statement here is of one database
-- only. All names begin with `pool_`, so that those of the predecessor's tables are free for views. Tables that grow have
-- primary keys that rise with time, so that rows are appended, and no foreign keys.
-- pool-persist runs this file by itself. It may also be run before, by the image of a database server.

-- The files of this folder that were run.
CREATE TABLE IF NOT EXISTS pool_schema_versions (version BIGINT NOT NULL PRIMARY KEY);

-- How far the tables are: one row a shard, changed in the same transaction as the rows. And where they begin: bags and
-- works with smaller numbers have no rows, because their records were gone when the tables were made. 0: all have.
CREATE TABLE pool_positions (
    shard INT NOT NULL PRIMARY KEY,
    lsn BIGINT NOT NULL,
    first_batch_id BIGINT NOT NULL DEFAULT 0,
    first_work_id BIGINT NOT NULL DEFAULT 0
);
INSERT INTO pool_positions (shard, lsn) VALUES (0, 0);

-- Why something is in its state, in words.
CREATE TABLE pool_reasons (
    reason SMALLINT NOT NULL PRIMARY KEY,
    meaning VARCHAR(256) NOT NULL
);
INSERT INTO pool_reasons (reason, meaning) VALUES
    (0, 'none'),
    (1, 'the command ended with a non-zero exit code'),
    (2, 'the command was ended by a signal'),
    (3, 'it ran longer than its wall-clock limit'),
    (4, 'the worker''s operator does not allow this command'),
    (5, 'the command could not be started'),
    (6, 'the worker has no such executor'),
    (7, 'the row of parameters does not fit the template'),
    (8, 'an input could not be fetched'),
    (9, 'the worker has no room for it now'),
    (10, 'the worker is draining'),
    (11, 'the worker was lost'),
    (12, 'the worker came back without this lease'),
    (13, 'taken back before it started, for an idle worker'),
    (14, 'quarantined: its attempts ended several workers'),
    (15, 'its time to live ran out'),
    (16, 'cancelled by a user'),
    (17, 'by an operator'),
    (18, 'the worker''s report could not be accepted'),
    (19, 'the executor failed'),
    (20, 'the lease was superseded'),
    (21, 'it used more memory than its limit'),
    (22, 'it wrote more than its limit'),
    (23, 'an output could not be collected');

-- Starts of an engine.
CREATE TABLE pool_epochs (
    epoch BIGINT NOT NULL PRIMARY KEY,
    started_us BIGINT NOT NULL,
    version VARCHAR(256) NOT NULL
);

-- The engine calls them tenants.
CREATE TABLE pool_users (
    user_id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(256) NOT NULL,
    weight BIGINT NOT NULL
);

-- The engine calls them bags. `template` is the encoded template of the wire.
CREATE TABLE pool_batches (
    batch_id BIGINT NOT NULL PRIMARY KEY,
    first_work_id BIGINT NOT NULL,
    works_total BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    app VARCHAR(256) NOT NULL,
    label VARCHAR(256) NOT NULL,
    priority INT NOT NULL,
    template MEDIUMBLOB NOT NULL,
    opened_us BIGINT NOT NULL,
    closed_us BIGINT,
    forgotten SMALLINT NOT NULL DEFAULT 0
);
CREATE INDEX pool_batches_by_user ON pool_batches (user_id, batch_id);

CREATE TABLE pool_workers (
    worker_id BIGINT NOT NULL PRIMARY KEY,
    uid VARCHAR(256) NOT NULL,
    name VARCHAR(256) NOT NULL,
    version VARCHAR(256) NOT NULL,
    os VARCHAR(256) NOT NULL,
    arch VARCHAR(256) NOT NULL,
    cores BIGINT NOT NULL,
    memory_bytes BIGINT NOT NULL,
    slots BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    cordoned SMALLINT NOT NULL,
    reason SMALLINT NOT NULL,
    joined_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    approval VARCHAR(16) NOT NULL DEFAULT 'approved',
    certificate_serial BIGINT,
    certificate_until_us BIGINT,
    wallet VARCHAR(42),
    forgotten SMALLINT NOT NULL DEFAULT 0
);

CREATE TABLE pool_works (
    work_id BIGINT NOT NULL PRIMARY KEY,
    batch_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    parameters MEDIUMBLOB NOT NULL,
    accepted_us BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason SMALLINT NOT NULL,
    attempt INT NOT NULL,
    worker_id BIGINT,
    exit_code INT,
    elapsed_us BIGINT,
    result MEDIUMBLOB,
    changed_us BIGINT NOT NULL,
    lsn BIGINT NOT NULL
);
CREATE INDEX pool_works_by_state ON pool_works (state, work_id);
CREATE INDEX pool_works_by_user ON pool_works (user_id, work_id);

CREATE TABLE pool_attempts (
    work_id BIGINT NOT NULL,
    attempt INT NOT NULL,
    worker_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    leased_us BIGINT NOT NULL,
    started_us BIGINT,
    ended_us BIGINT,
    outcome VARCHAR(16),
    reason SMALLINT,
    PRIMARY KEY (work_id, attempt)
);
CREATE INDEX pool_attempts_by_worker ON pool_attempts (worker_id, work_id);

-- Each change of a work's state. One row stands for as many works as `works` says, from `work_id` on, which went the same
-- way in the same record. `pool_history` has a row for each.
CREATE TABLE pool_events (
    lsn BIGINT NOT NULL,
    work_id BIGINT NOT NULL,
    works INT NOT NULL,
    at_us BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason SMALLINT NOT NULL,
    attempt INT NOT NULL,
    worker_id BIGINT,
    PRIMARY KEY (lsn, work_id)
);
CREATE INDEX pool_events_by_work ON pool_events (work_id, lsn);

-- A row stands for 1024 works at most, so that those of one work are found by its number.
CREATE VIEW pool_history AS
SELECT works.work_id, events.lsn, events.at_us, events.state, events.reason, events.attempt, events.worker_id
FROM pool_works AS works JOIN pool_events AS events
ON events.work_id <= works.work_id AND events.work_id > works.work_id - 1024
AND events.work_id + events.works > works.work_id;

INSERT INTO pool_schema_versions (version) VALUES (1);
