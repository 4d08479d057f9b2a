-- The market: what the chain says of orders, contributions and money, and what was sent to it. Addresses and hashes are
-- hexadecimal with 0x, small letters. Amounts are in nRLC. Where a number of the chain may be larger than 63 bits it
-- is a decimal text.

-- What a work of this category may use. NULL: nobody set a limit.
CREATE TABLE pool_categories (
    category_id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(256) NOT NULL,
    description VARCHAR(1024) NOT NULL,
    work_clock_s BIGINT NOT NULL,
    memory_bytes BIGINT,
    disk_bytes BIGINT,
    file_bytes BIGINT,
    changed_us BIGINT NOT NULL
);

-- Offers of this pool on the market, by their index there.
CREATE TABLE pool_market_orders (
    order_idx BIGINT NOT NULL PRIMARY KEY,
    direction VARCHAR(16) NOT NULL,
    category_id BIGINT NOT NULL,
    trust VARCHAR(80) NOT NULL,
    value_nrlc BIGINT NOT NULL,
    volume BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    workerpool CHAR(42) NOT NULL,
    owner CHAR(42) NOT NULL,
    opened_us BIGINT NOT NULL,
    closed_us BIGINT,
    block_number BIGINT NOT NULL
);

-- Work orders: what was bought. `batch_id` are its works.
CREATE TABLE pool_orders (
    woid CHAR(42) NOT NULL PRIMARY KEY,
    order_idx BIGINT NOT NULL,
    batch_id BIGINT,
    requester CHAR(42) NOT NULL,
    beneficiary CHAR(42) NOT NULL,
    callback CHAR(42),
    app CHAR(42) NOT NULL,
    dataset CHAR(42),
    params MEDIUMBLOB NOT NULL,
    state VARCHAR(16) NOT NULL,
    consensus CHAR(66),
    bought_us BIGINT NOT NULL,
    revealing_us BIGINT,
    reveal_until_us BIGINT,
    timeout_us BIGINT NOT NULL,
    ended_us BIGINT,
    block_number BIGINT NOT NULL,
    is_final SMALLINT NOT NULL DEFAULT 0
);
CREATE INDEX pool_orders_by_state ON pool_orders (state, timeout_us);
CREATE INDEX pool_orders_by_batch ON pool_orders (batch_id);

CREATE TABLE pool_contributions (
    woid CHAR(42) NOT NULL,
    wallet CHAR(42) NOT NULL,
    worker_id BIGINT,
    state VARCHAR(16) NOT NULL,
    result_hash CHAR(66),
    score BIGINT,
    authorized_us BIGINT,
    contributed_us BIGINT,
    revealed_us BIGINT,
    block_number BIGINT NOT NULL,
    PRIMARY KEY (woid, wallet)
);
CREATE INDEX pool_contributions_by_wallet ON pool_contributions (wallet, woid);

-- What was signed. A nonce may have several until one of them is final.
CREATE TABLE pool_transactions (
    wallet CHAR(42) NOT NULL,
    nonce BIGINT NOT NULL,
    tx_hash CHAR(66) NOT NULL,
    purpose VARCHAR(64) NOT NULL,
    woid CHAR(42),
    state VARCHAR(16) NOT NULL,
    gas_price_wei VARCHAR(80) NOT NULL,
    gas_used BIGINT,
    sent_us BIGINT,
    mined_us BIGINT,
    final_us BIGINT,
    block_number BIGINT,
    PRIMARY KEY (wallet, nonce, tx_hash)
);
CREATE INDEX pool_transactions_by_order ON pool_transactions (woid, nonce);

-- Money that came, went, was locked or unlocked, in the order of the chain.
CREATE TABLE pool_ledger (
    block_number BIGINT NOT NULL,
    log_index INT NOT NULL,
    at_us BIGINT NOT NULL,
    wallet CHAR(42) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    amount_nrlc BIGINT NOT NULL,
    woid CHAR(42),
    tx_hash CHAR(66) NOT NULL,
    PRIMARY KEY (block_number, log_index)
);
CREATE INDEX pool_ledger_by_wallet ON pool_ledger (wallet, block_number);

INSERT INTO pool_schema_versions (version) VALUES (2);
