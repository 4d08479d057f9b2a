-- Which events were written to files and deleted from `pool_events`: a row is a file. All events up to the greatest
-- `last_lsn` are in files. `sha256` is hexadecimal, of the file as it is on disk.

CREATE TABLE pool_archives (
    first_lsn BIGINT NOT NULL PRIMARY KEY,
    last_lsn BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    file VARCHAR(256) NOT NULL,
    sha256 CHAR(64) NOT NULL,
    archived_us BIGINT NOT NULL
);

INSERT INTO pool_schema_versions (version) VALUES (6);
