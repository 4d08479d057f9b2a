//! `pool chain …`: the marketplace, and what orders have on it.
//!
//! Creating a pool asks a node. All else asks the engine, which keeps the books of `pool-reconcile`: rows in a notebook, see
//! [`wire_hub::row`].

mod books;
mod claims;
mod create_pool;
mod ledger;
mod money;
mod orders;
mod proof;
mod requests;
mod status;
mod story;
mod transactions;

use wire_hub::request::Request;

use super::Context;
use super::args::{Chain, OrderVerb};
use super::exit::{Exit, Failure};
use books::Books;

pub(crate) async fn run(context: &Context, command: Chain) -> Result<Exit, Failure> {
    match command {
        Chain::Status => {
            let books = read(context).await?;
            context.output.one(&status::Status::of(&books))?;
        }
        Chain::Orders(arguments) => orders::list(context, &read(context).await?, &arguments)?,
        Chain::Order(arguments) => {
            let explained = arguments.verb.map(|OrderVerb::Explain { woid }| woid);
            let woid = explained.or(arguments.woid);
            let woid = woid.ok_or_else(|| Failure::usage("name the order by its address, 0x…"))?;
            story::tell(context, &read(context).await?, woid)?;
        }
        Chain::Ledger { by } => ledger::list(context, &read(context).await?, by)?,
        Chain::Txs(arguments) => transactions::list(context, &read(context).await?, &arguments)?,
        Chain::Claims => claims::list(context, &read(context).await?)?,
        Chain::Unstick(arguments) => {
            let request = Request::Unstick {
                nonce: arguments.nonce,
                as_nothing: arguments.as_nothing,
            };
            requests::ask(context, request).await?;
        }
        Chain::Replay { from } => requests::ask(context, Request::Replay { from }).await?,
        Chain::CreatePool(arguments) => return create_pool::run(context, *arguments).await,
        Chain::Proof { work } => return proof::run(context, work).await,
    }
    Ok(Exit::Ok)
}

async fn read(context: &Context) -> Result<Books, Failure> {
    Books::read(&context.connect().await?).await
}
