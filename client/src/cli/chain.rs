//! `pool chain …`: the marketplace, and what orders have on it.

mod create_pool;
mod proof;

use super::Context;
use super::args::Chain;
use super::exit::{Exit, Failure};

pub(crate) async fn run(context: &Context, command: Chain) -> Result<Exit, Failure> {
    match command {
        Chain::CreatePool(arguments) => create_pool::run(context, *arguments).await,
        Chain::Proof { work } => proof::run(context, work).await,
    }
}
