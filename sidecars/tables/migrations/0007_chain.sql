-- The books of pool-reconcile: what the pool saw and did on the marketplace, as it told last. Rows stay when it lets go of
-- its own. Addresses and hashes are hexadecimal with 0x, small letters. Amounts are in nRLC, what gas costs in wei.

-- Where the books are of: a row a pool, wallet and chain that they were ever of. The others name it by `pool_id`, where 0 is books
-- from before the first row of a pool.
CREATE TABLE pool_chain_pools (
    pool_id BIGINT NOT NULL PRIMARY KEY,
    chain_id BIGINT NOT NULL,
    hub CHAR(42) NOT NULL,
    pool CHAR(42) NOT NULL,
    owner CHAR(42) NOT NULL,
    is_current SMALLINT NOT NULL,
    head_block BIGINT NOT NULL,
    followed_block BIGINT NOT NULL,
    followed_us BIGINT NOT NULL,
    final_block BIGINT NOT NULL,
    since_block BIGINT NOT NULL,
    stake_nrlc BIGINT,
    locked_nrlc BIGINT,
    coins_wei VARCHAR(80),
    alerts MEDIUMBLOB NOT NULL
);

-- Orders. One address may have several after a reorganisation: `order_key` tells them apart. What is NULL was not known yet.
CREATE TABLE pool_chain_orders (
    order_key CHAR(66) NOT NULL PRIMARY KEY,
    pool_id BIGINT NOT NULL,
    woid CHAR(42) NOT NULL,
    state VARCHAR(16) NOT NULL,
    is_over SMALLINT NOT NULL,
    requester CHAR(42),
    app CHAR(42),
    dataset CHAR(42),
    beneficiary CHAR(42),
    callback CHAR(42),
    order_idx BIGINT,
    category_id BIGINT,
    period_s BIGINT,
    trust VARCHAR(80),
    value_nrlc BIGINT,
    stake_nrlc BIGINT,
    emitcost_nrlc BIGINT,
    params MEDIUMBLOB,
    bought_us BIGINT,
    bought_block BIGINT,
    ended_block BIGINT,
    reveal_until_us BIGINT,
    timeout_us BIGINT,
    reason VARCHAR(512),
    result_uri VARCHAR(1024),
    result_stdout VARCHAR(1024),
    result_stderr VARCHAR(1024),
    locked_nrlc BIGINT NOT NULL,
    unlocked_nrlc BIGINT NOT NULL,
    rewarded_nrlc BIGINT NOT NULL,
    seized_nrlc BIGINT NOT NULL,
    gas BIGINT NOT NULL,
    burned_wei VARCHAR(80) NOT NULL,
    faults BIGINT NOT NULL,
    stranded_pool_nrlc BIGINT,
    stranded_workers_nrlc BIGINT,
    stranded_requester_nrlc BIGINT,
    seen_us BIGINT NOT NULL
);
CREATE INDEX pool_chain_orders_by_woid ON pool_chain_orders (woid);
CREATE INDEX pool_chain_orders_by_state ON pool_chain_orders (state, timeout_us);

-- Who has a part in an order.
CREATE TABLE pool_chain_workers (
    order_key CHAR(66) NOT NULL,
    wallet CHAR(42) NOT NULL,
    status VARCHAR(16) NOT NULL,
    asked_us BIGINT,
    outcome VARCHAR(16),
    digest CHAR(66),
    PRIMARY KEY (order_key, wallet)
);
CREATE INDEX pool_chain_workers_by_wallet ON pool_chain_workers (wallet);

-- Transactions of the pool's wallet. `tx_hash` is the one that was mined, else the one that was signed last.
CREATE TABLE pool_chain_transactions (
    pool_id BIGINT NOT NULL,
    nonce BIGINT NOT NULL,
    function_name VARCHAR(64),
    order_key CHAR(66),
    woid CHAR(42),
    state VARCHAR(16) NOT NULL,
    is_final SMALLINT NOT NULL,
    tx_hash CHAR(66),
    attempts INT NOT NULL,
    block_number BIGINT,
    mined_us BIGINT,
    gas_used BIGINT,
    gas_price_wei VARCHAR(80),
    why VARCHAR(512),
    seen_us BIGINT NOT NULL,
    PRIMARY KEY (pool_id, nonce)
);
CREATE INDEX pool_chain_transactions_by_order ON pool_chain_transactions (order_key, nonce);

-- Sums, of a `party` (`name` is its address) or of a `day` (in UTC, as 2026-11-27). Up to `settled_block` they are final.
CREATE TABLE pool_chain_money (
    pool_id BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(42) NOT NULL,
    locked_nrlc BIGINT NOT NULL,
    unlocked_nrlc BIGINT NOT NULL,
    rewarded_nrlc BIGINT NOT NULL,
    seized_nrlc BIGINT NOT NULL,
    gas BIGINT NOT NULL,
    burned_wei VARCHAR(80) NOT NULL,
    faults BIGINT NOT NULL,
    settled_block BIGINT,
    PRIMARY KEY (pool_id, kind, name)
);

INSERT INTO pool_schema_versions (version) VALUES (7);
