//! A chain as one node tells it.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use wire_hub::{Address, Block, BlockRef, Call, Gas, Hash, Log, Nonce, Receipt, Wei};

use crate::json::{self, hex, quantity};
use crate::rpc::{NodeErrorKind, Request, Rpc, RpcError};
use crate::{
    Answer, At, BadData, Chain, Contracts, Counted, Fees, Input, Seen, Sent, Signed, Simulated, Transaction,
    View, Why, abi,
};

/// Blocks whose transactions say what is given on top of the base fee.
const FEE_BLOCKS: u64 = 20;

/// What is given on top where the last blocks say nothing: 1 gwei, which is what wallets do.
const PRIORITY_FEE_DEFAULT: Wei = Wei(1_000_000_000);

/// One node.
#[derive(Debug)]
pub struct Node {
    rpc: Rpc,
    contracts: Contracts,
    /// It does not take blocks by hash (<https://eips.ethereum.org/EIPS/eip-1898>).
    numbers_only: AtomicBool,
}

impl Node {
    /// This node, for these contracts.
    #[must_use]
    pub const fn new(rpc: Rpc, contracts: Contracts) -> Self {
        Self {
            rpc,
            contracts,
            numbers_only: AtomicBool::new(false),
        }
    }

    /// What is underneath, for what no [`Chain`] has.
    #[must_use]
    pub const fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    async fn ask(&self, method: &'static str, params: Value) -> Result<Value, Why> {
        Ok(self.rpc.ask(method, params).await?)
    }

    /// Asks what `make` makes of a block, in the state after that block.
    async fn ask_at(
        &self,
        at: At,
        make: impl Fn(&Value) -> Vec<Request> + Send,
    ) -> Result<Vec<Result<Value, RpcError>>, Why> {
        let At::Block(block) = at else {
            return Ok(self.rpc.ask_all(&make(&json!("latest"))).await);
        };
        if !self.numbers_only.load(Ordering::Relaxed) {
            let by_hash = json!({ "blockHash": hex(&block.hash.0), "requireCanonical": true });
            let outcomes = self.rpc.ask_all(&make(&by_hash)).await;
            if !outcomes
                .iter()
                .any(|outcome| is(outcome, NodeErrorKind::InvalidArguments))
            {
                return Ok(outcomes);
            }
        }
        let outcomes = self.rpc.ask_all(&make(&quantity(block.number.into()))).await;
        // The number may have been another block's meanwhile, or all the time.
        match self.block(block.number).await {
            Answer::Known(now) if now.at == block => {}
            Answer::Unknown(why) => return Err(why),
            Answer::Known(_) | Answer::Absent => {
                return Err(Why::Gone(format!("block {} is another now", block.number)));
            }
        }
        if !outcomes
            .iter()
            .any(|outcome| is(outcome, NodeErrorKind::InvalidArguments))
        {
            self.numbers_only.store(true, Ordering::Relaxed);
        }
        Ok(outcomes)
    }

    async fn ask_one_at(&self, at: At, make: impl Fn(&Value) -> Request + Send + Sync) -> Result<Value, Why> {
        let mut outcomes = self.ask_at(at, |block| vec![make(block)]).await?;
        Ok(outcomes.pop().expect("one outcome")?)
    }

    async fn tagged(&self, tag: &str) -> Answer<Block> {
        Answer::of(
            self.ask("eth_getBlockByNumber", json!([tag, false]))
                .await
                .and_then(|value| present(&value, json::block)),
        )
    }

    async fn logs_by(&self, filter: Value) -> Answer<Vec<Log>> {
        Answer::of(
            self.ask("eth_getLogs", json!([filter]))
                .await
                .and_then(|value| Ok(Some(json::logs(&value, &self.contracts)?))),
        )
    }

    async fn receipt_of(&self, outcome: Result<Value, RpcError>) -> Result<Option<Receipt>, Why> {
        let value = outcome?;
        if value.is_null() {
            return Ok(None);
        }
        let Some((mut receipt, priced)) = json::receipt(&value, &self.contracts)? else {
            return Ok(None);
        };
        // From before London: nothing but the transaction says it.
        if !priced && let Some(transaction) = self.transaction(receipt.transaction).await.found()? {
            receipt.gas_price = transaction.gas_price;
        }
        Ok(Some(receipt))
    }

    async fn fees_now(&self) -> Result<Option<Fees>, Why> {
        let history = json!([quantity(FEE_BLOCKS.into()), "latest", [50]]);
        let mut outcomes = self
            .rpc
            .ask_all(&[
                Request::new("eth_getBlockByNumber", json!(["latest", false])),
                Request::new("eth_gasPrice", json!([])),
                Request::new("eth_feeHistory", history),
            ])
            .await
            .into_iter();
        let mut next = || outcomes.next().expect("three outcomes");
        let (block, gas_price, history) = (next()?, next(), next());
        let Some(burned) = json::block(&block)?.base_fee else {
            let gas_price = Wei(json::u128_of(&gas_price?, "gas price")?);
            return Ok(Some(Fees::Legacy { gas_price }));
        };
        if is(&history, NodeErrorKind::UnknownMethod) {
            // What the node proposes is what is burned and something on top.
            let gas_price = json::u128_of(&gas_price?, "gas price")?;
            return Ok(Some(Fees::Market {
                base_fee: burned,
                priority_fee: Wei(gas_price.saturating_sub(burned.0)),
            }));
        }
        let history = history?;
        let base_fees = history.get("baseFeePerGas").and_then(Value::as_array);
        // One more than there are blocks: the last is of the one to come.
        let base_fee = base_fees.and_then(|fees| fees.last());
        let base_fee = base_fee.ok_or_else(|| BadData::new("baseFeePerGas", "the fee history has none"))?;
        let rewards = history.get("reward").and_then(Value::as_array);
        let rewards = rewards
            .into_iter()
            .flatten()
            .filter_map(|of_block| of_block.get(0));
        let rewards: Result<Vec<u128>, BadData> =
            rewards.map(|reward| json::u128_of(reward, "reward")).collect();
        let mut rewards = rewards?;
        rewards.retain(|reward| *reward > 0);
        rewards.sort_unstable();
        let median = rewards.get(rewards.len() / 2);
        Ok(Some(Fees::Market {
            base_fee: Wei(json::u128_of(base_fee, "baseFeePerGas")?),
            priority_fee: median.map_or(PRIORITY_FEE_DEFAULT, |median| Wei(*median)),
        }))
    }
}

fn is(outcome: &Result<Value, RpcError>, kind: NodeErrorKind) -> bool {
    let node = outcome.as_ref().err().and_then(RpcError::node);
    node.is_some_and(|node| node.kind == kind)
}

/// What is there, read; null is what is not.
fn present<T>(value: &Value, read: impl Fn(&Value) -> Result<T, BadData>) -> Result<Option<T>, Why> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(read(value)?))
}

impl Chain for Node {
    fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    async fn head(&self) -> Answer<Block> {
        self.tagged("latest").await
    }

    async fn finalized(&self) -> Answer<Block> {
        match self.tagged("finalized").await {
            // Chains from before the merge do not know the word.
            Answer::Unknown(Why::Rpc(RpcError::Node(node)))
                if matches!(
                    node.kind,
                    NodeErrorKind::InvalidArguments | NodeErrorKind::UnknownMethod
                ) =>
            {
                Answer::Absent
            }
            Answer::Unknown(Why::Gone(_)) => Answer::Absent,
            answer => answer,
        }
    }

    async fn blocks(&self, numbers: &[u64]) -> Vec<Answer<Block>> {
        let one =
            |number: &u64| Request::new("eth_getBlockByNumber", json!([quantity((*number).into()), false]));
        let requests: Vec<Request> = numbers.iter().map(one).collect();
        let outcomes = self.rpc.ask_all(&requests).await.into_iter();
        let read = |outcome: Result<Value, RpcError>| present(&outcome?, json::block);
        // A number beyond the head is what is not there, also where the node calls it an error.
        outcomes
            .map(|outcome| match read(outcome) {
                Err(Why::Gone(_)) => Answer::Absent,
                found => Answer::of(found),
            })
            .collect()
    }

    async fn block_of(&self, hash: Hash) -> Answer<Block> {
        let params = json!([hex(&hash.0), false]);
        let found = self.ask("eth_getBlockByHash", params).await;
        match found.and_then(|value| present(&value, json::block)) {
            Err(Why::Gone(_)) => Answer::Absent,
            found => Answer::of(found),
        }
    }

    async fn logs(&self, blocks: RangeInclusive<u64>) -> Answer<Vec<Log>> {
        self.logs_by(json!({
            "address": hex(&self.contracts.pool.0),
            "fromBlock": quantity((*blocks.start()).into()),
            "toBlock": quantity((*blocks.end()).into()),
        }))
        .await
    }

    async fn logs_of(&self, block: BlockRef) -> Answer<Vec<Log>> {
        self.logs_by(json!({
            "address": hex(&self.contracts.pool.0),
            "blockHash": hex(&block.hash.0),
        }))
        .await
    }

    async fn receipts(&self, transactions: &[Hash]) -> Vec<Answer<Receipt>> {
        let one = |hash: &Hash| Request::new("eth_getTransactionReceipt", json!([hex(&hash.0)]));
        let requests: Vec<Request> = transactions.iter().map(one).collect();
        let mut answers = Vec::with_capacity(requests.len());
        for outcome in self.rpc.ask_all(&requests).await {
            answers.push(Answer::of(self.receipt_of(outcome).await));
        }
        answers
    }

    async fn transaction(&self, hash: Hash) -> Answer<Transaction> {
        Answer::of(
            self.ask("eth_getTransactionByHash", json!([hex(&hash.0)]))
                .await
                .and_then(|value| present(&value, json::transaction)),
        )
    }

    async fn nonce(&self, wallet: Address, counted: Counted) -> Answer<Nonce> {
        let method = "eth_getTransactionCount";
        let asked = match counted {
            Counted::Mined => self.ask(method, json!([hex(&wallet.0), "latest"])).await,
            Counted::Pending => self.ask(method, json!([hex(&wallet.0), "pending"])).await,
            Counted::At(block) => {
                let ask = |block: &Value| Request::new(method, json!([hex(&wallet.0), block]));
                self.ask_one_at(At::Block(block), ask).await
            }
        };
        Answer::of(asked.and_then(|value| Ok(Some(Nonce(json::u64_of(&value, "nonce")?)))))
    }

    async fn fees(&self) -> Answer<Fees> {
        Answer::of(self.fees_now().await)
    }

    async fn ether(&self, who: Address, at: At) -> Answer<Wei> {
        let ask = |block: &Value| Request::new("eth_getBalance", json!([hex(&who.0), block]));
        Answer::of(
            self.ask_one_at(at, ask)
                .await
                .and_then(|value| Ok(Some(Wei(json::u128_of(&value, "balance")?)))),
        )
    }

    async fn code(&self, of: Address, at: At) -> Answer<Vec<u8>> {
        let ask = |block: &Value| Request::new("eth_getCode", json!([hex(&of.0), block]));
        Answer::of(self.ask_one_at(at, ask).await.and_then(|value| {
            let code = json::bytes_of(&value, "code")?;
            Ok(Some(code).filter(|code| !code.is_empty()))
        }))
    }

    async fn see(&self, views: &[View], at: At) -> Vec<Answer<Seen>> {
        let questions: Vec<Vec<Input>> = views
            .iter()
            .map(|view| abi::questions(&self.contracts, view))
            .collect();
        let make = |block: &Value| {
            let all = questions.iter().flatten();
            all.map(|Input { to, data }| {
                Request::new("eth_call", json!([json::call(*to, data, None), block]))
            })
            .collect()
        };
        let outcomes = match self.ask_at(at, make).await {
            Ok(outcomes) => outcomes,
            Err(why) => return views.iter().map(|_| Answer::Unknown(why.clone())).collect(),
        };
        let mut outcomes = outcomes.into_iter();
        let read = |(view, questions): (&View, &Vec<Input>)| {
            let of_view: Vec<_> = outcomes.by_ref().take(questions.len()).collect();
            let bytes: Result<Vec<Vec<u8>>, Why> = of_view
                .into_iter()
                .map(|outcome| Ok(json::bytes_of(&outcome?, "result of eth_call")?))
                .collect();
            Answer::of(bytes.and_then(|bytes| Ok(abi::answer(view, &bytes)?)))
        };
        views.iter().zip(&questions).map(read).collect()
    }

    async fn send(&self, transaction: &Signed) -> Answer<Sent> {
        let params = json!([hex(&transaction.raw)]);
        let node = match self.rpc.ask("eth_sendRawTransaction", params).await {
            Ok(_) => return Answer::Known(Sent::Accepted),
            Err(RpcError::Node(node)) => node,
            Err(error) => return Answer::Unknown(Why::Rpc(error)),
        };
        Answer::Known(match node.kind {
            NodeErrorKind::AlreadyKnown => Sent::AlreadyKnown,
            NodeErrorKind::NonceTooLow => Sent::NonceTooLow,
            NodeErrorKind::ReplacementUnderpriced => Sent::ReplacementUnderpriced,
            NodeErrorKind::FeeTooLow => Sent::FeeTooLow,
            NodeErrorKind::InsufficientFunds => Sent::InsufficientFunds,
            NodeErrorKind::PoolFull => Sent::PoolFull,
            NodeErrorKind::RateLimited => return Answer::Unknown(Why::Rpc(RpcError::Node(node))),
            _ => Sent::Refused(node.message),
        })
    }

    async fn simulate(&self, call: &Call, from: Address) -> Answer<Simulated> {
        let Input { to, data } = self.contracts.encode(call);
        let params = json!([json::call(to, &data, Some(from))]);
        match self.ask("eth_estimateGas", params).await {
            Ok(value) => match json::u64_of(&value, "estimate of gas") {
                Ok(gas) => Answer::Known(Simulated::Succeeds(Gas(gas))),
                Err(bad) => Answer::Unknown(bad.into()),
            },
            Err(Why::Reverted(text)) => Answer::Known(Simulated::Reverts(text)),
            Err(why) => Answer::Unknown(why),
        }
    }
}
