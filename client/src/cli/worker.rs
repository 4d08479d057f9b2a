//! `pool worker …`

use wire_protocol::ids::WorkerId;
use wire_protocol::limits::PAGE_LEN_MAX;

use super::Context;
use super::args::Worker;
use super::exit::{Exit, Failure};
use super::views::{Changed, Explained};

pub(crate) async fn run(context: &Context, command: Worker) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let command = match command {
        Worker::Token(command) => return super::token::run(context, &client, command).await,
        command => command,
    };
    let (action, name) = match &command {
        Worker::List | Worker::Token(_) => return list(context, &client).await,
        Worker::Get(arg) => ("get", arg),
        Worker::Explain(arg) => ("explain", arg),
        Worker::Cordon(arg) => ("cordon", arg),
        Worker::Uncordon(arg) => ("uncordon", arg),
        Worker::Drain { worker, .. } => ("drain", worker),
        Worker::Approve(arg) => ("approve", arg),
        Worker::Revoke(arg) => ("revoke", arg),
    };
    let worker = name.worker.resolve(&client).await?;
    let subject = worker.to_string();
    let changed = match &command {
        Worker::List | Worker::Token(_) | Worker::Get(_) => {
            context.output.one(&client.worker(worker).await?)?;
            return Ok(Exit::Ok);
        }
        Worker::Explain(_) => {
            let explanation = client.explain_worker(worker).await?;
            context.output.one(&Explained { subject, explanation })?;
            return Ok(Exit::Ok);
        }
        Worker::Cordon(_) => client.cordon(worker).await?,
        Worker::Uncordon(_) => client.uncordon(worker).await?,
        Worker::Drain { deadline: None, .. } => client.drain(worker).await?,
        Worker::Drain {
            deadline: Some(within),
            ..
        } => client.drain_within(worker, *within).await?,
        Worker::Approve(_) => client.approve(worker).await?,
        Worker::Revoke(_) => client.revoke(worker).await?,
    };
    context.output.one(&Changed {
        action,
        subject,
        changed,
    })?;
    Ok(Exit::Ok)
}

async fn list(context: &Context, client: &client::Client) -> Result<Exit, Failure> {
    let mut list = context.output.list();
    let mut after = WorkerId(0);
    loop {
        let page = client.workers(after, PAGE_LEN_MAX).await?;
        list.page(&page)?;
        match page.last() {
            Some(last) if page.len() == PAGE_LEN_MAX as usize => after = last.worker,
            _ => break,
        }
    }
    list.end()?;
    Ok(Exit::Ok)
}
