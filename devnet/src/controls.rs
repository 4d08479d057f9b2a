//! Time, blocks, and what no real chain lets anybody do.

use std::time::Duration;

use serde_json::{Value, json};
use wire_hub::{Hash, Timestamp, Wei};

use crate::{Devnet, DevnetError};

/// A state to come back to, once.
#[derive(Debug)]
pub struct Snapshot(Value);

impl Devnet {
    async fn control(&self, method: &'static str, params: Value) -> Result<Value, DevnetError> {
        let done = self.node().rpc().ask(method, params).await;
        done.map_err(|error| DevnetError::Chain(error.into()))
    }

    /// Makes so many blocks at once, a second apart, with what waits in the first.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn mine(&self, blocks: u64) -> Result<(), DevnetError> {
        self.control("anvil_mine", json!([blocks])).await.map(drop)
    }

    /// Makes a block that is so many seconds later. Only then views see that time.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn warp(&self, seconds: u64) -> Result<(), DevnetError> {
        self.control("evm_increaseTime", json!([seconds])).await?;
        self.mine(1).await
    }

    /// Makes a block of this time, which must be later than the last.
    ///
    /// # Errors
    /// The chain does not answer, or the time is past.
    pub async fn warp_to(&self, time: Timestamp) -> Result<(), DevnetError> {
        self.control("anvil_setNextBlockTimestamp", json!([time.0]))
            .await?;
        self.mine(1).await
    }

    /// A block each so often from now on, instead of one for each transaction; whole seconds.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn set_block_time(&self, time: Duration) -> Result<(), DevnetError> {
        self.control("evm_setIntervalMining", json!([time.as_secs()]))
            .await
            .map(drop)
    }

    /// Whether each transaction makes a block.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn set_automine(&self, on: bool) -> Result<(), DevnetError> {
        self.control("evm_setAutomine", json!([on])).await.map(drop)
    }

    /// Replaces the last blocks by as many others. Their transactions are gone, and not waiting either; these are in the new
    /// blocks instead, each in the one of its offset from 0.
    ///
    /// # Errors
    /// The chain does not answer, is not so long, or does not take a transaction.
    pub async fn reorg(&self, depth: u64, transactions: &[(&[u8], u64)]) -> Result<(), DevnetError> {
        let raw = |bytes: &[u8]| format!("0x{}", data_encoding::HEXLOWER.encode(bytes));
        let transactions: Vec<Value> = transactions
            .iter()
            .map(|(bytes, at)| json!([raw(bytes), at]))
            .collect();
        self.control("anvil_reorg", json!([depth, transactions]))
            .await
            .map(drop)
    }

    /// Takes the last blocks away.
    ///
    /// # Errors
    /// The chain does not answer, or is not so long.
    pub async fn rollback(&self, depth: u64) -> Result<(), DevnetError> {
        self.control("anvil_rollback", json!([depth])).await.map(drop)
    }

    /// Remembers all there is.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn snapshot(&self) -> Result<Snapshot, DevnetError> {
        self.control("evm_snapshot", json!([])).await.map(Snapshot)
    }

    /// Goes back to it.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn revert(&self, to: Snapshot) -> Result<(), DevnetError> {
        self.control("evm_revert", json!([to.0])).await.map(drop)
    }

    /// Forgets a transaction that waits.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn drop_transaction(&self, hash: Hash) -> Result<(), DevnetError> {
        let hash = format!("0x{}", data_encoding::HEXLOWER.encode(&hash.0));
        self.control("anvil_dropTransaction", json!([hash]))
            .await
            .map(drop)
    }

    /// What a unit of gas burns in the next block.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn set_next_block_base_fee(&self, fee: Wei) -> Result<(), DevnetError> {
        let fee = format!("{:#x}", fee.0);
        self.control("anvil_setNextBlockBaseFeePerGas", json!([fee]))
            .await
            .map(drop)
    }
}
