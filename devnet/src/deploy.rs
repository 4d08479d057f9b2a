//! The contracts, in the order in which they need each other.
//!
//! ```text
//!   RLC, WorkerPoolHub, AppHub, DatasetHub, IexecHub
//!   the three hubs ─► owned by IexecHub
//!   Marketplace(IexecHub)
//!   IexecHub.attachContracts(all of them), once; categories
//! ```

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use wire_chain::{Contracts, Node, Setup};
use wire_hub::{Address, NOBODY};
use wire_wallet::Wallet;

use crate::{Devnet, DevnetError, GAS_FOR_CONTRACTS};

/// A chain without contracts.
pub(crate) const fn nothing(chain_id: u64) -> Contracts {
    Contracts {
        chain_id,
        rlc: NOBODY,
        hub: NOBODY,
        marketplace: NOBODY,
        pools: NOBODY,
        apps: NOBODY,
        datasets: NOBODY,
        pool: NOBODY,
    }
}

/// An artifact of truffle, of either of its formats.
#[derive(Deserialize)]
struct Artifact {
    #[serde(alias = "unlinked_binary")]
    bytecode: String,
}

impl Devnet {
    pub(crate) async fn deploy(&mut self, categories_s: &[u64]) -> Result<(), DevnetError> {
        let owner = self.owner().address();
        let mut contracts = self.contracts;
        // The three whom the token gives all there is at first.
        contracts.rlc = self.create("RLC", &[owner; 3]).await?;
        contracts.pools = self.create("WorkerPoolHub", &[]).await?;
        contracts.apps = self.create("AppHub", &[]).await?;
        contracts.datasets = self.create("DatasetHub", &[]).await?;
        contracts.hub = self.create("IexecHub", &[]).await?;
        contracts.marketplace = self.create("Marketplace", &[contracts.hub]).await?;
        self.know(contracts);
        let hub = contracts.hub;
        for of in [contracts.pools, contracts.apps, contracts.datasets] {
            self.set_up(&Setup::SetImmutableOwnership { of, owner: hub }, self.owner())
                .await?;
        }
        self.set_up(&Setup::AttachContracts, self.owner()).await?;
        self.set_up(&Setup::SetCategoriesCreator { creator: owner }, self.owner())
            .await?;
        for (at, period_s) in categories_s.iter().enumerate() {
            let category = Setup::CreateCategory {
                name: format!("category {}", at + 1),
                description: String::new(),
                period_s: *period_s,
            };
            self.set_up(&category, self.owner()).await?;
        }
        Ok(())
    }

    /// From now on these are the contracts.
    pub(crate) fn know(&mut self, contracts: Contracts) {
        self.contracts = contracts;
        self.node = Node::new(self.node.rpc().clone(), contracts);
    }

    /// Makes a contract of the owner of the marketplace.
    async fn create(&self, name: &'static str, arguments: &[Address]) -> Result<Address, DevnetError> {
        self.create_from(self.owner(), name, arguments).await
    }

    pub(crate) async fn create_from(
        &self,
        from: &Wallet,
        name: &'static str,
        arguments: &[Address],
    ) -> Result<Address, DevnetError> {
        let mut code = bytecode(&self.artifacts, name)?;
        for argument in arguments {
            code.extend_from_slice(&[0; 12]);
            code.extend_from_slice(&argument.0);
        }
        self.create_contract(code, GAS_FOR_CONTRACTS, from).await
    }
}

fn bytecode(artifacts: &Path, name: &str) -> Result<Vec<u8>, DevnetError> {
    let path = artifacts.join(format!("{name}.json"));
    let text = fs::read(&path).map_err(DevnetError::file(&path))?;
    let wrong = |problem: String| DevnetError::Artifact {
        path: path.clone(),
        problem,
    };
    let artifact: Artifact = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let digits = artifact.bytecode.trim_start_matches("0x");
    HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .map_err(|_| wrong("its bytecode is not hexadecimal".to_owned()))
}
