//! `pool bag …`

use wire_protocol::client_link::Selector;
use wire_protocol::ids::BagId;
use wire_protocol::limits::PAGE_LEN_MAX;
use wire_protocol::template::Priority;

use super::Context;
use super::args::Bag;
use super::exit::{Exit, Failure};
use super::views::Changed;

pub(crate) async fn run(context: &Context, command: Bag) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    match command {
        Bag::List => {
            let mut list = context.output.list();
            let mut after = BagId(0);
            loop {
                let page = client.bags(after, PAGE_LEN_MAX).await?;
                list.page(&page)?;
                match page.last() {
                    Some(last) if page.len() == PAGE_LEN_MAX as usize => after = last.bag,
                    _ => break list.end()?,
                }
            }
        }
        Bag::Get { bag } => {
            let bag = bag.resolve(&client).await?;
            context.output.one(&client.bag(bag).await?)?;
        }
        Bag::Cancel { bag } => {
            let bag = bag.resolve(&client).await?;
            let changed = client.cancel(Selector::Bag(bag)).await?;
            context.output.one(&Changed {
                action: "cancel",
                subject: bag.to_string(),
                changed,
            })?;
        }
        Bag::Prioritise { bag, priority } => {
            let bag = bag.resolve(&client).await?;
            let changed = client.prioritise(bag, Priority(priority)).await?;
            context.output.one(&Changed {
                action: "prioritise",
                subject: bag.to_string(),
                changed,
            })?;
        }
    }
    Ok(Exit::Ok)
}
