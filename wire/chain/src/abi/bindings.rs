//! What ethers makes of the contracts' signatures: those that are called, asked and heard here, of some hundred.
//!
//! Copied from the artifacts of npm `iexec-poco` 1.1.17, with names for what has none there. The tests hold selectors and
//! topics to those that the deployed contracts are known by. Statuses are returned as `uint8` and truth values as
//! `bool`; they are read as `uint256`, because ethers takes the last byte, or bit, of whatever stands there.

use ethers_contract::abigen;

abigen!(
    IexecHub,
    r"[
        function rlc() external view returns (address at)
        function marketplace() external view returns (address at)
        function workerPoolHub() external view returns (address at)
        function appHub() external view returns (address at)
        function datasetHub() external view returns (address at)
        function m_categoriesCount() external view returns (uint256 count)
        function m_categories(uint256 id) external view returns (uint256 catid, string name, string description, uint256 workClockTimeRef)
        function checkBalance(address owner) external view returns (uint256 stake, uint256 locked)
        function getWorkerStatus(address worker) external view returns (address workerPool, uint256 workerScore)
        function isWoidRegistred(address woid) external view returns (bool registered)

        function deposit(uint256 amount) external returns (bool done)
        function withdraw(uint256 amount) external returns (bool done)
        function createWorkerPool(string description, uint256 subscriptionLockStake, uint256 subscriptionMinimumStake, uint256 subscriptionMinimumScore) external returns (address pool)
        function buyForWorkOrder(uint256 marketorderIdx, address workerpool, address app, address dataset, string params, address callback, address beneficiary) external returns (address woid)
        function claimFailedConsensus(address woid) external returns (bool done)

        function attachContracts(address token, address marketplace, address workerPoolHub, address appHub, address datasetHub) external
        function setCategoriesCreator(address creator) external
        function createCategory(string name, string description, uint256 workClockTimeRef) external returns (uint256 catid)
        function createApp(string name, uint256 price, string params) external returns (address app)
        function createDataset(string name, uint256 price, string params) external returns (address dataset)

        event CreateWorkerPool(address indexed owner, address indexed pool, string description)
        event Reward(address user, uint256 amount)
        event Seize(address user, uint256 amount)
        event AccurateContribution(address woid, address indexed worker)
        event FaultyContribution(address woid, address indexed worker)
    ]"
);

abigen!(
    Marketplace,
    r"[
        function m_orderBook(uint256 id) external view returns (uint256 direction, uint256 category, uint256 trust, uint256 value, uint256 volume, uint256 remaining, address workerpool, address workerpoolOwner)
        function m_orderCount() external view returns (uint256 count)
        function isCallbackDone(address woid) external view returns (bool done)

        function createMarketOrder(uint8 direction, uint256 category, uint256 trust, uint256 value, address workerpool, uint256 volume) external returns (uint256 id)
        function closeMarketOrder(uint256 id) external returns (bool done)
        function workOrderCallback(address woid, string stdout, string stderr, string uri) external

        event MarketOrderCreated(uint256 id)
        event MarketOrderClosed(uint256 id)
        event MarketOrderAskConsume(uint256 id, address requester)
        event WorkOrderCallbackProof(address indexed woid, address requester, address beneficiary, address indexed callbackTo, address indexed gasCallbackProvider, string stdout, string stderr, string uri)
    ]"
);

abigen!(
    WorkerPool,
    r"[
        function m_owner() external view returns (address owner)
        function m_stakeRatioPolicy() external view returns (uint256 value)
        function m_schedulerRewardRatioPolicy() external view returns (uint256 value)
        function m_subscriptionMinimumStakePolicy() external view returns (uint256 value)
        function m_subscriptionMinimumScorePolicy() external view returns (uint256 value)
        function m_subscriptionLockStakePolicy() external view returns (uint256 value)
        function getWorkersCount() external view returns (uint256 count)
        function getWorkerAddress(uint256 index) external view returns (address worker)
        function m_consensus(address woid) external view returns (uint256 poolReward, uint256 stakeAmount, bytes32 consensus, uint256 revealDate, uint256 revealCounter, uint256 consensusTimeout, uint256 winnerCount, address workerpoolOwner, uint256 schedulerRewardRatio)
        function m_contributions(address woid, address worker) external view returns (uint256 status, bytes32 resultHash, bytes32 resultSign, address enclaveChallenge, uint256 score, uint256 weight)
        function getContributorsCount(address woid) external view returns (uint256 count)
        function getContributor(address woid, uint256 index) external view returns (address worker)

        function changeWorkerPoolPolicy(uint256 stakeRatio, uint256 schedulerRewardRatio, uint256 subscriptionMinimumStake, uint256 subscriptionMinimumScore) external
        function subscribeToPool() external returns (bool done)
        function unsubscribeFromPool() external returns (bool done)
        function evictWorker(address worker) external returns (bool done)
        function allowWorkersToContribute(address woid, address[] workers, address enclaveChallenge) external returns (bool done)
        function contribute(address woid, bytes32 resultHash, bytes32 resultSign, uint8 v, bytes32 r, bytes32 s) external returns (uint256 stake)
        function revealConsensus(address woid, bytes32 consensus) external returns (bool done)
        function reveal(address woid, bytes32 result) external returns (bool done)
        function reopen(address woid) external returns (bool done)
        function finalizeWork(address woid, string stdout, string stderr, string uri) external returns (bool done)

        event WorkOrderActive(address indexed woid)
        event WorkOrderClaimed(address indexed woid)
        event AllowWorkerToContribute(address indexed woid, address indexed worker, uint256 workerScore)
        event Contribute(address indexed woid, address indexed worker, bytes32 resultHash)
        event RevealConsensus(address indexed woid, bytes32 consensus)
        event Reveal(address indexed woid, address indexed worker, bytes32 result)
        event Reopen(address indexed woid)
        event FinalizeWork(address indexed woid, string stdout, string stderr, string uri)
        event WorkerSubscribe(address indexed worker)
        event WorkerUnsubscribe(address indexed worker)
        event WorkerEviction(address indexed worker)
        event WorkerPoolPolicyUpdate(uint256 oldStakeRatio, uint256 newStakeRatio, uint256 oldSchedulerRewardRatio, uint256 newSchedulerRewardRatio, uint256 oldSubscriptionMinimumStake, uint256 newSubscriptionMinimumStake, uint256 oldSubscriptionMinimumScore, uint256 newSubscriptionMinimumScore)
    ]"
);

abigen!(
    WorkOrder,
    r"[
        function m_status() external view returns (uint256 status)
        function m_marketorderIdx() external view returns (uint256 id)
        function m_workerpool() external view returns (address at)
        function m_app() external view returns (address at)
        function m_dataset() external view returns (address at)
        function m_requester() external view returns (address at)
        function m_params() external view returns (string params)
        function m_callback() external view returns (address at)
        function m_beneficiary() external view returns (address at)
        function m_emitcost() external view returns (uint256 amount)
    ]"
);

abigen!(
    Registry,
    r"[
        function isWorkerPoolRegistered(address pool) external view returns (bool registered)
        function getWorkerPoolsCount(address owner) external view returns (uint256 count)
        function getWorkerPool(address owner, uint256 index) external view returns (address pool)
        function getAppsCount(address owner) external view returns (uint256 count)
        function getApp(address owner, uint256 index) external view returns (address app)
        function setImmutableOwnership(address owner) external
    ]"
);

abigen!(
    App,
    r"[
        function m_appName() external view returns (string name)
        function m_appPrice() external view returns (uint256 price)
        function m_appParams() external view returns (string params)
        function m_owner() external view returns (address owner)
    ]"
);

abigen!(
    Rlc,
    r"[
        function balanceOf(address owner) external view returns (uint256 balance)
        function allowance(address owner, address spender) external view returns (uint256 remaining)
        function approve(address spender, uint256 value) external returns (bool done)
        function transfer(address to, uint256 value) external returns (bool done)
    ]"
);
