//! Contracts of requesters: some wait for a result, one buys.

use wire_hub::{Address, Call, Event, NOBODY, Receipt, Rlc, keccak};
use wire_wallet::Wallet;

use crate::{Devnet, DevnetError, GAS_FOR_CALLS};

/// What a contract does that requesters name to be called back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callback {
    /// Answers 1 to whatever it is asked.
    Takes,
    /// Refuses.
    Reverts,
    /// Runs until there is no gas left.
    Burns,
}

impl Callback {
    /// The code that it runs.
    const fn code(self) -> &'static [u8] {
        match self {
            Self::Takes => &[0x60, 1, 0x60, 0, 0x52, 0x60, 32, 0x60, 0, 0xf3],
            Self::Reverts => &[0x60, 0, 0x60, 0, 0xfd],
            Self::Burns => &[0x5b, 0x60, 0, 0x56],
        }
    }
}

impl Devnet {
    /// A contract that requesters can name to be called back.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn create_callback(&self, callback: Callback) -> Result<Address, DevnetError> {
        let runs = callback.code();
        // Code that returns what stands behind it.
        let length = u8::try_from(runs.len()).expect("a few bytes");
        let mut code = vec![0x60, length, 0x60, 12, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xf3];
        code.extend_from_slice(runs);
        self.create_contract(code, GAS_FOR_CALLS, self.owner()).await
    }

    /// The requester's own contract (`IexecAPI`), with so much stake at the hub: it buys works, takes results from the
    /// marketplace alone, and has no function to claim what failed.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn create_api(&self, stake: Rlc) -> Result<Address, DevnetError> {
        let arguments = [self.contracts().hub, self.contracts().marketplace];
        let api = self.create_from(self.requester(), "IexecAPI", &arguments).await?;
        self.fund(api, stake).await?;
        for function in ["approveIexecHub(uint256)", "depositRLCOnIexecHub(uint256)"] {
            let mut data = keccak(function.as_bytes()).0[..4].to_vec();
            data.extend_from_slice(&[0; 16]);
            data.extend_from_slice(&stake.0.to_be_bytes());
            self.tell_contract(api, data, self.requester()).await?;
        }
        Ok(api)
    }

    /// The contract of [`Devnet::create_api`] buys a work for itself, and waits for the result if it is to be called back.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn buy_by_api(
        &self,
        api: Address,
        market_order: u64,
        app: Address,
        params: &str,
        is_called_back: bool,
    ) -> Result<Address, DevnetError> {
        let buy = Call::BuyForWorkOrder {
            market_order,
            app,
            dataset: NOBODY,
            params: params.to_owned(),
            callback: if is_called_back { api } else { NOBODY },
            beneficiary: self.requester().address(),
        };
        // Its function has the name and the arguments of the hub's.
        let data = self.contracts().encode(&buy).data;
        let receipt = self.tell_contract(api, data, self.requester()).await?;
        let active = receipt.logs.iter().find_map(|log| match log.event {
            Event::WorkOrderActive { woid } => Some(woid),
            _ => None,
        });
        active.ok_or(DevnetError::NoTrace("buyForWorkOrder"))
    }

    async fn tell_contract(
        &self,
        contract: Address,
        data: Vec<u8>,
        from: &Wallet,
    ) -> Result<Receipt, DevnetError> {
        let transaction = self.post_data(Some(contract), data, GAS_FOR_CALLS, from).await?;
        let receipt = self.mined(transaction.hash).await?;
        if receipt.succeeded {
            return Ok(receipt);
        }
        Err(DevnetError::Failed {
            what: format!("a call of {contract}"),
            transaction: receipt.transaction,
        })
    }
}
