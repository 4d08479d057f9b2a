//! `pool work …`

use std::io::{self, Write};

use client::{Client, ClientError, SubmitOptions};
use wire_protocol::client_link::Selector;
use wire_protocol::ids::WorkId;
use wire_protocol::limits::PAGE_LEN_MAX;
use wire_protocol::outcome::Outcome;
use wire_protocol::view::{Filter, WorkState};

use super::args::{Format, StateArg, Work, WorkList, Works};
use super::exit::{Exit, Failure};
use super::progress::{Bar, Results, watch};
use super::submit_args::Submit;
use super::views::{Changed, Explained, Submitted, Summary};
use super::{Context, logs};

pub(crate) async fn run(context: &Context, command: Work) -> Result<Exit, Failure> {
    match command {
        Work::Submit(args) => submit(context, &args).await,
        Work::List(args) => list(context, args).await,
        Work::Get { work } => {
            let client = context.connect().await?;
            let detail = client.work(work.resolve(&client).await?).await?;
            context.output.one(&detail)?;
            Ok(Exit::Ok)
        }
        Work::Wait { works, quiet } => wait(context, works, quiet).await,
        Work::Cancel(works) => change(context, works, "cancel").await,
        Work::Retry(works) => change(context, works, "retry").await,
        Work::Explain { work } => {
            let client = context.connect().await?;
            let work = work.resolve(&client).await?;
            let explanation = client.explain_work(work).await?;
            context.output.one(&Explained {
                subject: work.to_string(),
                explanation,
            })?;
            Ok(Exit::Ok)
        }
        Work::Logs(args) => logs::run(context, args).await,
    }
}

async fn submit(context: &Context, args: &Submit) -> Result<Exit, Failure> {
    let parameters = args.parameters()?;
    let template = args.template(parameters.columns())?;
    let options = SubmitOptions {
        key: args.idempotency_key(),
    };
    let mut results = args
        .results
        .as_ref()
        .map(|folder| Results::new(folder, &parameters))
        .transpose()?;
    let client = context.connect().await?;
    let bar = Bar::new(parameters.len(), args.quiet);
    let shown = bar.clone();
    let on_event = move |event| shown.submit_event(&event);
    if !args.wait && results.is_none() {
        let upload = client
            .upload(template, parameters.len(), options)?
            .on_event(on_event);
        let submission = upload.send(parameters.encoded()).await;
        bar.clear();
        let submission = submission?;
        if args.quiet && context.output.format == Format::Table {
            writeln!(io::stdout(), "{}", submission.bag)?;
        } else {
            context.output.one(&Submitted(submission))?;
        }
        return Ok(Exit::Ok);
    }

    let (upload, follow) = client.submit_followed(template, parameters.len(), options)?;
    let upload = upload.on_event(on_event);
    let upload = async { upload.send(parameters.encoded()).await.map_err(Failure::from) };
    let waiting = async { tokio::try_join!(upload, watch(follow, &bar, results.as_mut())) };
    let summary = tokio::select! {
        ended = waiting => {
            bar.clear();
            ended?.1
        }
        _ = tokio::signal::ctrl_c() => {
            bar.clear();
            return Err(stopped_waiting("last"));
        }
    };
    conclude(context, &summary, args.quiet)
}

fn stopped_waiting(bag: &str) -> Failure {
    Failure::new(Exit::Failed, "stopped waiting; what was accepted goes on").cure(format!(
        "`pool work wait --bag {bag}` waits again, `pool work cancel --bag {bag}` stops it"
    ))
}

fn conclude(context: &Context, summary: &Summary, quiet: bool) -> Result<Exit, Failure> {
    if !quiet {
        context.output.one(summary)?;
    }
    Ok(if summary.succeeded == summary.works {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

async fn list(context: &Context, args: WorkList) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let filter = Filter {
        states: args.state.into_iter().map(state).collect(),
        bag: match args.bag {
            Some(bag) => Some(bag.resolve(&client).await?),
            None => None,
        },
        worker: match args.worker {
            Some(worker) => Some(worker.resolve(&client).await?),
            None => None,
        },
        label: args.label,
    };
    let mut after = match args.pages.after {
        Some(work) => work.resolve(&client).await?,
        None => WorkId(0),
    };
    let mut left = args.pages.works_max();
    let mut list = context.output.list();
    loop {
        let limit = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_LEN_MAX);
        let page = client.works(filter.clone(), after, limit).await?;
        left = left.saturating_sub(page.works.len() as u64);
        list.page(&page.works)?;
        match page.next {
            Some(next) if left > 0 => after = next,
            next => {
                list.end()?;
                context.output.more(next)?;
                return Ok(Exit::Ok);
            }
        }
    }
}

pub(super) fn state(arg: StateArg) -> WorkState {
    match arg {
        StateArg::Queued => WorkState::Queued,
        StateArg::Leased => WorkState::Leased,
        StateArg::Running => WorkState::Running,
        StateArg::Succeeded => WorkState::Done(Outcome::Succeeded),
        StateArg::Failed => WorkState::Done(Outcome::Failed),
        StateArg::Cancelled => WorkState::Done(Outcome::Cancelled),
        StateArg::Expired => WorkState::Done(Outcome::Expired),
    }
}

async fn wait(context: &Context, works: Works, quiet: bool) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    if let Some(bag) = works.bag {
        let bag = bag.resolve(&client).await?;
        let follow = client.follow(bag).await?;
        let bar = Bar::new(follow.total(), quiet);
        let summary = tokio::select! {
            summary = watch(follow, &bar, None) => summary,
            _ = tokio::signal::ctrl_c() => Err(stopped_waiting(&bag.to_string())),
        };
        bar.clear();
        return conclude(context, &summary?, quiet);
    }
    let mut all_succeeded = true;
    let mut done = Vec::new();
    for work in works.works {
        let detail = client.wait_work(work.resolve(&client).await?).await?;
        all_succeeded &= detail.work.state == WorkState::Done(Outcome::Succeeded);
        done.push(detail.work);
    }
    if !quiet {
        context.output.all(&done)?;
    }
    Ok(if all_succeeded { Exit::Ok } else { Exit::Failed })
}

/// Cancels or retries; of several works some may be done although others cannot.
async fn change(context: &Context, works: Works, action: &'static str) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    if let Some(bag) = works.bag {
        let bag = bag.resolve(&client).await?;
        let changed = perform(&client, action, Selector::Bag(bag)).await?;
        context.output.one(&Changed {
            action,
            subject: bag.to_string(),
            changed,
        })?;
        return Ok(Exit::Ok);
    }
    let single = works.works.len() == 1;
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for work in works.works {
        let result = async {
            let work = work.resolve(&client).await?;
            let changed = perform(&client, action, Selector::Work(work)).await?;
            Ok::<_, ClientError>(Changed {
                action,
                subject: work.to_string(),
                changed,
            })
        };
        match result.await {
            Ok(changed) => done.push(changed),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    match (done.as_slice(), single) {
        ([one], true) => context.output.one(one)?,
        ([], _) => {}
        _ => context.output.all(&done)?,
    }
    // The last failure is told by whoever called.
    let Some(last) = failures.pop() else {
        return Ok(Exit::Ok);
    };
    for failure in failures {
        failure.tell();
    }
    Err(if done.is_empty() {
        last
    } else {
        last.with_exit(Exit::Partly)
    })
}

async fn perform(client: &Client, action: &str, selector: Selector) -> Result<u32, ClientError> {
    match action {
        "cancel" => client.cancel(selector).await,
        _ => client.retry(selector).await,
    }
}
