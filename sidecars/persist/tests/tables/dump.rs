//! Every row of every table as text, in all databases the same.

/// One query a table; each gives one text a row, in the order of their keys.
pub(crate) const QUERIES: [&str; 7] = [
    "SELECT CONCAT(work_id, ' ', batch_id, ' ', user_id, ' ', HEX(parameters), ' ', accepted_us, ' ', state, ' ', \
     reason, ' ', attempt, ' ', COALESCE(CAST(worker_id AS CHAR), 'NULL'), ' ', \
     COALESCE(CAST(exit_code AS CHAR), 'NULL'), ' ', COALESCE(CAST(elapsed_us AS CHAR), 'NULL'), ' ', \
     CASE WHEN result IS NULL THEN 'NULL' ELSE HEX(result) END, ' ', changed_us, ' ', lsn) \
     FROM works ORDER BY work_id",
    "SELECT CONCAT(work_id, ' ', attempt, ' ', worker_id, ' ', epoch, ' ', leased_us, ' ', \
     COALESCE(CAST(started_us AS CHAR), 'NULL'), ' ', COALESCE(CAST(ended_us AS CHAR), 'NULL'), ' ', \
     COALESCE(outcome, 'NULL'), ' ', COALESCE(CAST(reason AS CHAR), 'NULL')) \
     FROM attempts ORDER BY work_id, attempt",
    "SELECT CONCAT(lsn, ' ', work_id, ' ', at_us, ' ', state, ' ', reason, ' ', attempt, ' ', \
     COALESCE(CAST(worker_id AS CHAR), 'NULL')) FROM history ORDER BY lsn, work_id",
    "SELECT CONCAT(batch_id, ' ', first_work_id, ' ', works_total, ' ', user_id, ' ', app, ' ', label, ' ', priority, \
     ' ', HEX(template), ' ', opened_us, ' ', COALESCE(CAST(closed_us AS CHAR), 'NULL'), ' ', forgotten) \
     FROM batches ORDER BY batch_id",
    "SELECT CONCAT(worker_id, ' ', uid, ' ', name, ' ', version, ' ', os, ' ', arch, ' ', cores, ' ', memory_bytes, \
     ' ', slots, ' ', state, ' ', cordoned, ' ', reason, ' ', joined_us, ' ', changed_us, ' ', forgotten) \
     FROM workers ORDER BY worker_id",
    "SELECT CONCAT(user_id, ' ', name, ' ', weight) FROM users ORDER BY user_id",
    "SELECT CONCAT(epoch, ' ', started_us, ' ', version) FROM epochs ORDER BY epoch",
];
