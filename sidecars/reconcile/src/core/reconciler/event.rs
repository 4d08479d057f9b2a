//! What the reconciler is told, and what it asks for.

use wire_hub::request::{Asked, Request};
use wire_hub::{Address, Answer, Block, BlockRef, Call, Hash, Log, Person, Receipt, Views, Wei, WorkOrder};
use wire_protocol::units::Millis;

use super::offers::Offers;
use crate::core::market::{Offer, OfferStep};
use crate::core::observe::{self, Question, Reply, TooDeep};
use crate::core::order::{Identity, Job, Outcome, State, Texts};
use crate::core::plan::{self, Step};
use wire_lane as lane;
use wire_lane::{Alert, Fees, Intent, Payload, Progress};

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The chain's number.
    pub chain_id: u64,
    /// The marketplace's hub.
    pub hub: Address,
    /// The pool's contract.
    pub pool: Address,
    /// Who owns it: the wallet that sends.
    pub owner: Address,
    /// How the chain is followed.
    pub observe: observe::Settings,
    /// How transactions are sent.
    pub lane: lane::Settings,
    /// How orders are dealt with.
    pub plan: plan::Settings,
    /// What is offered. `None`: nothing, and offers that are there stay.
    pub offer: Option<Offer>,
    /// So long a view is not asked for again that had no answer.
    pub pause: Millis,
}

/// A worker of the engine that has shown a wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Its wallet.
    pub wallet: Address,
    /// Whose it is.
    pub owner: String,
    /// It is there and takes work.
    pub is_free: bool,
}

/// What the lane is answered, see [`lane::Event`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "as in `lane::Event`")]
pub enum LaneEvent {
    GasPrice(Wei),
    Account(lane::Account),
    Signed {
        nonce: wire_hub::Nonce,
        hash: Hash,
        raw: Vec<u8>,
    },
    Sent {
        hash: Hash,
        sending: lane::Sending,
    },
    Receipt {
        round: u64,
        hash: Hash,
        answer: Answer<Receipt>,
    },
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A node has this block as its last.
    Head(Block),
    /// This block is final, says the node, and all before it.
    Finalized(BlockRef),
    /// To [`Effect::Ask`].
    Answered {
        /// Which question.
        ask: u64,
        /// How.
        reply: Reply,
    },
    /// To [`Effect::SeeBought`]; the content of the order.
    Bought {
        /// Its address.
        woid: Address,
        /// The block that was asked about.
        at: BlockRef,
        /// What it is; absent where the node does not know the block any more.
        order: Box<Answer<WorkOrder>>,
    },
    /// To [`Effect::See`].
    Seen {
        /// At which block.
        at: BlockRef,
        /// Which order.
        woid: Address,
        /// What the contracts have.
        views: Box<Answer<Views>>,
    },
    /// To [`Effect::Meet`].
    Met {
        /// At which block.
        at: BlockRef,
        /// Who.
        who: Address,
        /// What the hub has.
        person: Answer<Person>,
    },
    /// To [`Effect::SeeOffers`].
    Offers {
        /// At which block.
        at: BlockRef,
        /// What there is.
        offers: Answer<Offers>,
    },
    /// To [`Effect::SeeReceipt`].
    ReceiptSeen {
        /// In which block it was to be.
        at: BlockRef,
        /// Of which transaction.
        hash: Hash,
        /// What there is.
        answer: Box<Answer<Receipt>>,
    },
    /// The operator has asked for this, under this number; said again and again, until it is done.
    Requested {
        /// The number.
        number: u64,
        /// What.
        asked: Asked,
    },
    /// The operator wants this sent; it is about no order.
    Wished(Call),
    /// To an effect of the lane.
    Lane(LaneEvent),
    /// These workers the engine has; who is not among them is gone.
    Workers {
        /// They.
        workers: Vec<Worker>,
        /// Percentage of the slots of all workers that are taken.
        load_percent: u64,
    },
    /// A work of an order has ended.
    Ended {
        /// Of which order.
        order: Identity,
        /// Whose work.
        worker: Address,
        /// How.
        outcome: Outcome,
        /// What it has for the requester, if it succeeded.
        texts: Option<Texts>,
    },
    /// To [`Effect::Understand`]; also later, where an order turns out to be nothing that can be run.
    Understood {
        /// Which.
        order: Identity,
        /// What it asks for.
        job: Job,
    },
    /// The works that an order stands for have ended.
    BagEnded {
        /// Which.
        order: Identity,
        /// The root over their results; `None`: they were cancelled.
        root: Option<Hash>,
        /// What there is for the requester.
        texts: Texts,
    },
    /// The note of [`Effect::Note`] with this number is durable.
    Noted(u64),
    /// A deadline has come.
    Tick,
}

/// Works of an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Share {
    /// All that it stands for, each once, by whoever does them.
    Bag,
    /// What this worker does for it.
    Worker {
        /// Its wallet.
        wallet: Address,
        /// What it contributes, where it is not what it has computed: the root over all works.
        result: Option<Hash>,
    },
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask a node about blocks and logs.
    Ask {
        /// Comes back with the answer.
        ask: u64,
        /// What.
        question: Question,
    },
    /// Ask for the content of an order in this block.
    SeeBought {
        /// Its address.
        woid: Address,
        /// The block that bought it, or a later one.
        at: BlockRef,
    },
    /// Ask what the contracts have of an order at this block.
    See {
        /// At which block.
        at: BlockRef,
        /// Which order.
        woid: Address,
        /// Workers that may have been allowed and have not contributed, of which the contract has no list.
        workers: Vec<Address>,
    },
    /// Ask what the hub has of somebody at this block.
    Meet {
        /// At which block.
        at: BlockRef,
        /// Who.
        who: Address,
    },
    /// Ask for the receipt of a transaction that has finalized an order.
    SeeReceipt {
        /// The block that has it.
        at: BlockRef,
        /// The transaction.
        hash: Hash,
    },
    /// Ask what the pool offers at this block.
    SeeOffers {
        /// At which block.
        at: BlockRef,
        /// Of which category it is to be.
        category: u64,
    },
    /// See [`lane::Effect::AskAccount`].
    AskAccount(BlockRef),
    /// See [`lane::Effect::AskGasPrice`].
    AskGasPrice,
    /// See [`lane::Effect::AskReceipt`].
    AskReceipt {
        /// Comes back with the answer.
        round: u64,
        /// Of which transaction.
        hash: Hash,
    },
    /// See [`lane::Effect::Sign`].
    Sign {
        /// With this nonce.
        nonce: wire_hub::Nonce,
        /// This.
        payload: Payload,
        /// At these prices.
        fees: Fees,
    },
    /// See [`lane::Effect::Send`].
    Send {
        /// Its nonce.
        nonce: wire_hub::Nonce,
        /// The transaction.
        hash: Hash,
        /// Its bytes.
        raw: Vec<u8>,
    },
    /// Find out what an order asks for.
    Understand {
        /// Which.
        order: Identity,
        /// What it is.
        content: Box<WorkOrder>,
    },
    /// Ask the engine for works of this order. Repeated under the same key they are the same works; how they end is to be
    /// said in any case.
    Submit {
        /// Their idempotency key.
        key: Hash,
        /// For which order.
        order: Identity,
        /// What it is.
        content: Box<WorkOrder>,
        /// Seconds that a work of its category may take.
        period_s: u64,
        /// Which works.
        share: Share,
    },
    /// These works of an order are not wanted any more.
    Cancel {
        /// Of which order.
        order: Identity,
        /// Which.
        share: Share,
    },
    /// Keep this under this key for a restart; `None`: nothing any more.
    Note {
        /// Comes back when it is durable, unless it is 0.
        number: u64,
        /// Under which key.
        key: String,
        /// What.
        value: Option<Vec<u8>>,
    },
    /// What is being done, and why; said once.
    Say(Step),
    /// What is being done about offers, and why; said once.
    SayOffer(OfferStep),
    /// How far a transaction is.
    Report {
        /// Which.
        intent: Intent,
        /// How far.
        progress: Progress,
    },
    /// What the operator has asked for is done, or was for another pool.
    Requested {
        /// Its number.
        number: u64,
        /// What.
        request: Request,
        /// It was for this pool.
        is_for_us: bool,
    },
    /// Why a transaction was mined in vain.
    Explained {
        /// Its nonce.
        nonce: wire_hub::Nonce,
        /// What it called.
        call: Call,
        /// Why, for people.
        why: String,
    },
    /// This order is over for good, in this state, and is forgotten.
    Over {
        /// Which.
        order: Identity,
        /// How it ended.
        state: State,
    },
    /// The operator should know.
    Alert(Alert),
    /// The chain was followed up to this block, and these events happened; for whoever keeps books.
    Followed {
        /// The block.
        upto: Block,
        /// The events.
        logs: Vec<Log>,
    },
    /// This block is orphaned, with its events.
    Undone(BlockRef),
    /// Blocks up to this number are final.
    Final(u64),
    /// See [`TooDeep`].
    TooDeep(TooDeep),
}
