//! `pool queue …`, `pool category …`, `pool status`, `pool snapshot`: the pool as a whole.

use super::Context;
use super::args::{Category, Queue};
use super::exit::{Exit, Failure};
use super::views::Changed;

pub(crate) async fn run(context: &Context, command: Queue) -> Result<Exit, Failure> {
    let Queue::List = command;
    let client = context.connect().await?;
    context.output.all(&client.queues().await?)?;
    Ok(Exit::Ok)
}

pub(crate) async fn categories(context: &Context, command: Category) -> Result<Exit, Failure> {
    let Category::List = command;
    let client = context.connect().await?;
    context.output.all(&client.categories().await?)?;
    Ok(Exit::Ok)
}

pub(crate) async fn status(context: &Context) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    context.output.one(&client.status().await?)?;
    Ok(Exit::Ok)
}

pub(crate) async fn snapshot(context: &Context) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let changed = client.snapshot().await?;
    context.output.one(&Changed {
        action: "snapshot",
        subject: "engine".to_owned(),
        changed,
    })?;
    Ok(Exit::Ok)
}
