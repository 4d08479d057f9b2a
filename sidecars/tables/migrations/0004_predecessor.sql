-- The predecessor's tables, as far as its dashboards and scripts read them: the same names and columns over our own
-- tables, times in UTC. What has no counterpart is NULL. `uid`s are numbers of works, users and orders, the identity of a
-- worker, the name of an app, the hash of a file. Counts are made anew at each question: whoever asks often asks our own
-- tables. SQLite, which has other functions of time, gets the same with its own.

CREATE VIEW works AS
SELECT CAST(w.work_id AS CHAR) AS uid, b.app AS appUID, m.category_id AS categoryId,
    CASE w.state WHEN 'queued' THEN 3 WHEN 'leased' THEN 4 WHEN 'running' THEN 4 WHEN 'succeeded' THEN 6 WHEN 'failed' THEN 5 WHEN 'cancelled' THEN 7 WHEN 'expired' THEN 14 END AS statusId,
    CASE w.state WHEN 'queued' THEN 'PENDING' WHEN 'leased' THEN 'RUNNING' WHEN 'running' THEN 'RUNNING' WHEN 'succeeded' THEN 'COMPLETED' WHEN 'failed' THEN 'ERROR' WHEN 'cancelled' THEN 'ABORTED' WHEN 'expired' THEN 'FAILED' END AS status,
    NULL AS sessionUID, CAST(w.batch_id AS CHAR) AS groupUID, NULL AS expectedhostUID,
    CAST(w.user_id AS CHAR) AS ownerUID, b.label AS label,
    TIMESTAMPADD(SECOND, FLOOR(w.changed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime,
    NULL AS userproxy, NULL AS accessRights, NULL AS sgid, NULL AS maxRetry, w.attempt AS retry, NULL AS minMemory,
    NULL AS minCPUSpeed, NULL AS minFreeMassStorage, NULL AS maxWallClockTime, NULL AS maxFreeMassStorage,
    NULL AS maxFileSize, NULL AS maxMemory, NULL AS maxCpuSpeed, NULL AS uploadbandwidth,
    NULL AS downloadbandwidth, w.exit_code AS returnCode, NULL AS server, NULL AS cmdLine, NULL AS listenport,
    NULL AS smartsocketaddr, NULL AS smartsocketclient, NULL AS stdinURI, NULL AS dirinURI, NULL AS resultURI,
    TIMESTAMPADD(SECOND, FLOOR(w.accepted_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS arrivalDate,
    CASE WHEN w.state IN ('succeeded', 'failed', 'cancelled', 'expired') THEN TIMESTAMPADD(SECOND, FLOOR(w.changed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') END AS completedDate,
    CASE WHEN w.result IS NOT NULL THEN TIMESTAMPADD(SECOND, FLOOR(w.changed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') END AS resultDate,
    TIMESTAMPADD(SECOND, FLOOR(w.accepted_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS readydate,
    NULL AS datareadydate,
    TIMESTAMPADD(SECOND, FLOOR(a.started_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS compstartdate,
    TIMESTAMPADD(SECOND, FLOOR(a.ended_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS compenddate,
    CASE WHEN w.reason = 0 THEN NULL ELSE r.meaning END AS error_msg, 'false' AS sendToClient, 'false' AS local,
    'true' AS active, NULL AS replicatedUID, NULL AS replications, NULL AS sizer, NULL AS totalr,
    NULL AS datadrivenURI, 'false' AS isService, 'false' AS isdeleted, NULL AS envvars,
    CASE WHEN w.reason = 0 THEN NULL ELSE r.meaning END AS errorMsg, o.requester AS requester,
    o.dataset AS dataset, m.workerpool AS workerPool, NULL AS emitcost, o.callback AS callback,
    o.beneficiary AS beneficiary, CAST(o.order_idx AS CHAR) AS marketorderUID, NULL AS h2h2r, o.consensus AS h2r,
    o.woid AS workOrderId
FROM pool_works w
JOIN pool_batches b ON b.batch_id = w.batch_id
JOIN pool_reasons r ON r.reason = w.reason
LEFT JOIN pool_attempts a ON a.work_id = w.work_id AND a.attempt = w.attempt
LEFT JOIN pool_orders o ON o.batch_id = w.batch_id
LEFT JOIN pool_market_orders m ON m.order_idx = o.order_idx;

CREATE VIEW tasks AS
SELECT CONCAT(a.work_id, '.', a.attempt) AS uid, CAST(a.work_id AS CHAR) AS workUID,
    h.uid AS hostUID,
    CASE WHEN a.ended_us IS NULL THEN 4 WHEN a.outcome = 'succeeded' THEN 6 WHEN a.outcome IS NULL THEN 8 ELSE 5 END AS statusId,
    CASE WHEN a.ended_us IS NULL THEN 'RUNNING' WHEN a.outcome = 'succeeded' THEN 'COMPLETED' WHEN a.outcome IS NULL THEN 'LOST' ELSE 'ERROR' END AS status,
    CAST(w.user_id AS CHAR) AS ownerUID,
    TIMESTAMPADD(SECOND, FLOOR(COALESCE(a.ended_us, a.started_us, a.leased_us) / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime,
    NULL AS accessRights, a.attempt AS trial,
    TIMESTAMPADD(SECOND, FLOOR(a.leased_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS InsertionDate,
    TIMESTAMPADD(SECOND, FLOOR(a.started_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS StartDate,
    TIMESTAMPADD(SECOND, FLOOR(a.started_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS LastStartDate,
    NULL AS AliveCount,
    TIMESTAMPADD(SECOND, FLOOR(COALESCE(a.ended_us, a.started_us, a.leased_us) / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS LastAlive,
    TIMESTAMPADD(SECOND, FLOOR(a.ended_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS removalDate,
    FLOOR((a.ended_us - a.started_us) / 1000) AS duration, 'false' AS isdeleted,
    CASE WHEN a.reason = 0 THEN NULL ELSE r.meaning END AS errorMsg, NULL AS price
FROM pool_attempts a
JOIN pool_works w ON w.work_id = a.work_id
LEFT JOIN pool_workers h ON h.worker_id = a.worker_id
LEFT JOIN pool_reasons r ON r.reason = a.reason;

CREATE VIEW hosts AS
SELECT h.uid AS uid, NULL AS osId, h.os AS os, NULL AS osversion, NULL AS cpuTypeId, h.arch AS cputype,
    NULL AS usergroupUID, NULL AS project, NULL AS sharedapps, NULL AS sharedpackages, NULL AS shareddatas,
    NULL AS ownerUID, h.name AS name,
    TIMESTAMPADD(SECOND, FLOOR(h.changed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime,
    h.slots AS poolworksize,
    (SELECT COUNT(*) FROM pool_attempts a WHERE a.worker_id = h.worker_id AND a.ended_us IS NOT NULL) AS nbJobs,
    (SELECT COUNT(*) FROM pool_attempts a WHERE a.worker_id = h.worker_id AND a.ended_us IS NULL AND a.started_us IS NULL) AS pendingJobs,
    (SELECT COUNT(*) FROM pool_attempts a WHERE a.worker_id = h.worker_id AND a.ended_us IS NULL AND a.started_us IS NOT NULL) AS runningJobs,
    (SELECT COUNT(*) FROM pool_attempts a WHERE a.worker_id = h.worker_id AND a.ended_us IS NOT NULL AND (a.outcome IS NULL OR a.outcome <> 'succeeded')) AS errorJobs,
    NULL AS timeOut,
    (SELECT FLOOR(AVG(a.ended_us - a.started_us) / 1000) FROM pool_attempts a WHERE a.worker_id = h.worker_id AND a.outcome = 'succeeded') AS avgExecTime,
    TIMESTAMPADD(SECOND, FLOOR(h.changed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS lastAlive,
    NULL AS nbconnections, NULL AS natedipaddr, NULL AS ipaddr, NULL AS hwaddr, NULL AS timezone,
    NULL AS javaversion, NULL AS javadatamodel, h.cores AS cpunb, NULL AS cpumodel, NULL AS cpuspeed,
    FLOOR(h.memory_bytes / 1024) AS totalmem, FLOOR(h.memory_bytes / 1024) AS availablemem, NULL AS totalswap,
    NULL AS totaltmp, NULL AS freetmp, NULL AS timeShift, NULL AS avgping, NULL AS nbping, NULL AS uploadbandwidth,
    NULL AS downloadbandwidth, NULL AS accessRights, NULL AS cpuLoad,
    CASE WHEN h.state IN ('lost', 'gone') THEN 'false' ELSE 'true' END AS active,
    CASE WHEN h.state = 'ready' THEN 'true' ELSE 'false' END AS available, 'false' AS incomingconnections,
    'true' AS acceptbin, h.version AS version, 'false' AS traces,
    CASE WHEN h.forgotten = 1 THEN 'true' ELSE 'false' END AS isdeleted, 'false' AS pilotjob, NULL AS sgid,
    NULL AS jobid, NULL AS batchid, NULL AS userproxy, NULL AS errorMsg, NULL AS ethwalletaddr,
    NULL AS marketorderUID, NULL AS contributionstatusId, NULL AS contributionstatus, NULL AS workerpooladdr
FROM pool_workers h;

CREATE VIEW marketorders AS
SELECT CAST(m.order_idx AS CHAR) AS uid, m.owner AS ownerUID, NULL AS accessRights, NULL AS errorMsg,
    TIMESTAMPADD(SECOND, FLOOR(COALESCE(m.closed_us, m.opened_us) / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime,
    m.direction AS direction, CASE WHEN m.closed_us IS NOT NULL THEN 6 ELSE 11 END AS statusId,
    CASE WHEN m.closed_us IS NOT NULL THEN 'COMPLETED' ELSE 'AVAILABLE' END AS status,
    m.order_idx AS marketOrderIdx, m.category_id AS categoryId, NULL AS expectedWorkers,
    (SELECT COUNT(*) FROM pool_contributions c JOIN pool_orders o ON o.woid = c.woid WHERE o.order_idx = m.order_idx) AS nbWorkers,
    m.trust AS trust, m.value_nrlc AS price, m.volume AS volume, m.remaining AS remaining,
    m.workerpool AS workerpooladdr, m.owner AS workerpoolowneraddr,
    TIMESTAMPADD(SECOND, FLOOR(m.opened_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS arrivalDate,
    (SELECT TIMESTAMPADD(SECOND, FLOOR(MIN(o.bought_us) / 1000000), TIMESTAMP'1970-01-01 00:00:00') FROM pool_orders o WHERE o.order_idx = m.order_idx) AS startDate,
    TIMESTAMPADD(SECOND, FLOOR(m.closed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS completedDate,
    NULL AS contributingDate,
    (SELECT TIMESTAMPADD(SECOND, FLOOR(MAX(o.revealing_us) / 1000000), TIMESTAMP'1970-01-01 00:00:00') FROM pool_orders o WHERE o.order_idx = m.order_idx) AS revealingDate
FROM pool_market_orders m;

CREATE VIEW categories AS
SELECT c.category_id AS categoryId, CAST(c.category_id AS CHAR) AS uid, NULL AS ownerUID, NULL AS accessRights,
    NULL AS errorMsg, TIMESTAMPADD(SECOND, FLOOR(c.changed_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime,
    c.name AS name, c.work_clock_s AS maxWallClockTime, c.disk_bytes AS maxFreeMassStorage, c.file_bytes AS maxFileSize,
    c.memory_bytes AS maxMemory, NULL AS maxCpuSpeed
FROM pool_categories c;

CREATE VIEW users AS
SELECT CAST(u.user_id AS CHAR) AS uid, u.name AS login, NULL AS userRightId, p.role AS rights, NULL AS usergroupUID,
    NULL AS ownerUID, TIMESTAMPADD(SECOND, FLOOR(p.created_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime,
    (SELECT COUNT(*) FROM pool_works w WHERE w.user_id = u.user_id AND w.state = 'succeeded') AS nbJobs,
    (SELECT COUNT(*) FROM pool_works w WHERE w.user_id = u.user_id AND w.state = 'queued') AS pendingJobs,
    (SELECT COUNT(*) FROM pool_works w WHERE w.user_id = u.user_id AND w.state IN ('leased', 'running')) AS runningJobs,
    (SELECT COUNT(*) FROM pool_works w WHERE w.user_id = u.user_id AND w.state IN ('failed', 'expired')) AS errorJobs,
    NULL AS usedCpuTime, NULL AS certificate, NULL AS accessRights, NULL AS password, p.email AS email,
    p.first_name AS fname, p.last_name AS lname, NULL AS country, 'false' AS challenging, 'false' AS isdeleted,
    NULL AS errorMsg
FROM pool_users u
LEFT JOIN pool_accounts p ON p.login = u.name;

CREATE VIEW apps AS
SELECT p.name AS uid, p.name AS name, NULL AS appTypeId, p.kind AS type, NULL AS packageTypeId,
    NULL AS neededpackages, p.owner AS ownerUID,
    TIMESTAMPADD(SECOND, FLOOR(p.created_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime, NULL AS envvars,
    'false' AS isdeleted, 'false' AS isService, NULL AS accessRights, NULL AS avgExecTime, NULL AS minMemory,
    NULL AS minCPUSpeed, NULL AS minFreeMassStorage, p.price_nrlc AS price, NULL AS nbJobs, NULL AS pendingJobs,
    NULL AS runningJobs, NULL AS errorJobs, NULL AS webpage, NULL AS defaultStdinURI, NULL AS baseDirinURI,
    NULL AS defaultDirinURI
FROM pool_apps p;

CREATE VIEW datas AS
SELECT f.sha256 AS uid, CAST(f.work_id AS CHAR) AS workUID, NULL AS package, 11 AS statusId, 'AVAILABLE' AS status,
    NULL AS dataTypeId, f.media_type AS type, NULL AS osId, NULL AS os, NULL AS osVersion, NULL AS cpuTypeId,
    NULL AS cpu, f.owner AS ownerUID, f.name AS name,
    TIMESTAMPADD(SECOND, FLOOR(f.stored_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS mtime, NULL AS uri,
    NULL AS accessRights, NULL AS links, NULL AS accessDate,
    TIMESTAMPADD(SECOND, FLOOR(f.stored_us / 1000000), TIMESTAMP'1970-01-01 00:00:00') AS insertionDate,
    f.sha256 AS shasum, f.bytes AS size, 'false' AS sendToClient, 'false' AS replicated, 'false' AS isdeleted,
    NULL AS errorMsg
FROM pool_files f;

INSERT INTO pool_schema_versions (version) VALUES (4);
