//! What nodes say, and what it means: geth, erigon, nethermind, besu, openethereum, anvil, and the large providers.
//!
//! What is not among these is kept as it is, so that a person can read it; one that turns up is added here, with a line in
//! the test.

use super::NodeErrorKind;

/// What texts mean, in lower case. The first that is found in a text counts, so the more particular stand first.
pub(super) const TEXTS: &[(NodeErrorKind, &[&str])] = {
    use NodeErrorKind::{
        AlreadyKnown, FeeTooLow, InsufficientFunds, NonceTooLow, PoolFull, RateLimited,
        ReplacementUnderpriced, Reverted, TooMuch, UnknownBlock, UnknownMethod,
    };
    &[
        (
            ReplacementUnderpriced,
            &[
                "replacement transaction underpriced",
                "replacementnotallowed",
                "another transaction with same nonce in the queue",
                "replacement fee too low",
                "replacement transaction gas price",
            ],
        ),
        (
            AlreadyKnown,
            &[
                "already known",
                "alreadyknown",
                "already imported",
                "known transaction",
                "already exists in the pool",
                "transaction already in pool",
            ],
        ),
        (
            NonceTooLow,
            &[
                "nonce too low",
                "nonce is too low",
                "nonce_too_low",
                "oldnonce",
                "below the sender's nonce",
            ],
        ),
        (
            InsufficientFunds,
            &[
                "insufficient funds",
                "insufficientfunds",
                "upfront cost exceeds account balance",
            ],
        ),
        (
            FeeTooLow,
            &[
                "transaction underpriced",
                "less than block base fee",
                "lower than the block base fee",
                "fee too low",
                "feetoolow",
                "gas price too low",
                "gas price below configured minimum",
            ],
        ),
        (
            PoolFull,
            &[
                "txpool is full",
                "transaction pool is full",
                "there are too many transactions in the queue",
                "account limit exceeded",
            ],
        ),
        (
            RateLimited,
            &[
                "rate limit",
                "rate-limit",
                "ratelimit",
                "too many requests",
                "request rate",
                "compute units per second",
                "daily request count",
                "capacity exceeded",
                "request limit",
            ],
        ),
        (
            TooMuch,
            &[
                "query returned more than",
                "too many results",
                "too many logs",
                "more than 10000 results",
                "block range",
                "range is too large",
                "range too large",
                "range limit",
                "logs matched by query exceeds",
                "log response size exceeded",
                "response size exceeded",
                "response size is larger",
                "response is too big",
                "limited to a",
                "query timeout",
                "query timed out",
                "request timed out",
                "timeout exceeded",
                "exceed maximum block",
                "exceeds the range",
                "max results",
            ],
        ),
        (
            UnknownBlock,
            &[
                "unknown block",
                "block not found",
                "header not found",
                "header for hash not found",
                "could not find block",
                "blockoutofrange",
                "block is out of range",
                "not currently canonical",
                "block is not canonical",
                "missing trie node",
                "state not available",
                "state is not available",
                "not in a range that is available",
                "in a range that is not available",
                "no state available",
                "world state unavailable",
                "resource not found",
                "historical state",
            ],
        ),
        (
            Reverted,
            &[
                "revert",
                "invalid opcode",
                "invalidfeopcode",
                "opcodenotfound",
                "vm execution error",
                "evm error",
                "bad instruction",
                "out of gas",
                "outofgas",
                "gas required exceeds allowance",
                "always failing transaction",
                "stack underflow",
                "invalid jump",
            ],
        ),
        (
            UnknownMethod,
            &[
                "method not found",
                "does not exist/is not available",
                "method is not available",
                "unsupported method",
                "method not supported",
                "is not whitelisted",
            ],
        ),
    ]
};

#[cfg(test)]
mod tests {
    use crate::rpc::NodeErrorKind::{self as Kind, *};

    /// Texts that nodes have said: the comments name the node.
    #[test]
    fn texts_of_nodes_are_understood() {
        for (code, text, kind) in [
            (-32005, "query returned more than 10000 results", TooMuch), // infura
            (-32602, "exceed maximum block range: 5000", TooMuch),       // bsc's geth
            (-32600, "eth_getLogs is limited to a 10,000 range", TooMuch), // quicknode
            (-32000, "query timeout exceeded", TooMuch),                 // geth
            (
                -32602,
                "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range",
                TooMuch,
            ), // alchemy
            (-32000, "block range is too wide", TooMuch),                // ankr
            (-32000, "unknown block", UnknownBlock),                     // geth
            (-32000, "header not found", UnknownBlock),                  // geth
            (-32000, "hash 0x12 is not currently canonical", UnknownBlock), // geth
            (
                -32602,
                "BlockOutOfRangeError: block height is 5 but requested was 9",
                UnknownBlock,
            ), // anvil
            (-32000, "missing trie node 12ab (path )", UnknownBlock),    // geth, pruned
            (-32000, "nonce too low: next nonce 5, tx nonce 4", NonceTooLow), // geth
            (-32003, "nonce too low", NonceTooLow),                      // anvil
            (-32010, "OldNonce, Current nonce: 5", NonceTooLow),         // nethermind
            (
                -32010,
                "Transaction nonce is too low. Try incrementing the nonce.",
                NonceTooLow,
            ), // openethereum
            (-32000, "already known", AlreadyKnown),                     // geth
            (-32003, "transaction already imported", AlreadyKnown),      // anvil
            (-32000, "Known transaction", AlreadyKnown),                 // besu
            (
                -32000,
                "replacement transaction underpriced",
                ReplacementUnderpriced,
            ), // geth
            (
                -32010,
                "Transaction gas price supplied is too low. There is another transaction with same nonce in the queue.",
                ReplacementUnderpriced,
            ), // openethereum
            (
                -32000,
                "transaction underpriced: tip needed 1, tip permitted 0",
                FeeTooLow,
            ), // geth
            (-32003, "max fee per gas less than block base fee", FeeTooLow), // anvil
            (
                -32000,
                "insufficient funds for gas * price + value: balance 0",
                InsufficientFunds,
            ), // geth
            (
                -32003,
                "Insufficient funds for gas * price + value",
                InsufficientFunds,
            ), // anvil
            (-32000, "txpool is full", PoolFull),                        // geth
            (
                -32005,
                "daily request count exceeded, request rate limited",
                RateLimited,
            ), // infura
            (
                429,
                "Your app has exceeded its compute units per second capacity",
                RateLimited,
            ), // alchemy
            (3, "execution reverted", Reverted),                         // geth
            (-32000, "invalid opcode: INVALID", Reverted),               // geth
            (-32003, "EVM error InvalidFEOpcode", Reverted),             // anvil
            (
                -32601,
                "the method eth_x does not exist/is not available",
                UnknownMethod,
            ), // geth
            (
                -32602,
                "invalid argument 1: json: cannot unmarshal object",
                InvalidArguments,
            ), // geth
            (-32000, "the moon is in the way", Other),
        ] {
            assert_eq!(Kind::of(code, text), kind, "{code} {text}");
        }
    }
}
