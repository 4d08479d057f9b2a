//! What it answers to commands and queries: made up, but of one piece.

use super::*;

pub(super) fn tally(bag: &Bag) -> Tally {
    let failed = bag.rows[..bag.ended].iter().filter(|row| *row == b"fail").count() as u32;
    let ended = bag.ended as u32;
    Tally {
        queued: bag.rows.len() as u32 - ended,
        succeeded: ended - failed,
        failed,
        ..Tally::default()
    }
}

pub(super) fn command(script: &mut Script, say: &mut Say<'_>, request: &CommandRequest) {
    script.seen.push("command");
    if next(&mut script.command_faults) == Fault::LoseBefore {
        return say.lost = true;
    }
    let reply = match &request.command {
        Command::Cancel(Selector::Work(WorkId(404))) => Reply::NotFound { what: "w404".into() },
        Command::Cancel(Selector::Work(WorkId(409))) => Reply::Conflict(Invalid {
            field: "w409".into(),
            problem: "is of another kind".into(),
        }),
        Command::Seal(bag) => {
            let found = &mut script.bags[bag.index() - 1];
            Reply::Changed(u32::from(!std::mem::replace(&mut found.sealed, true)))
        }
        Command::TakeNotebook(notebook) => notebooks::take(script, notebook),
        Command::WriteNotes(written) => notebooks::write(script, written),
        _ => Reply::Changed(1),
    };
    say.reply(request.request, reply);
}

pub(super) fn query(script: &mut Script, say: &mut Say<'_>, request: &QueryRequest) {
    let id = request.request;
    let reply = match &request.query {
        Query::Status => Reply::Status(StatusView {
            version: "test".into(),
            ..StatusView::default()
        }),
        Query::Work(work) => {
            script.seen.push("work");
            match work
                .0
                .checked_sub(1)
                .map(|work| (work / 1_000_000, work % 1_000_000))
            {
                Some((bag, row))
                    if script
                        .bags
                        .get(bag as usize)
                        .is_some_and(|bag| row < bag.rows.len() as u64) =>
                {
                    Reply::Work(Box::new(detail(
                        &script.bags[bag as usize],
                        bag as usize,
                        row as usize,
                    )))
                }
                _ => Reply::NotFound {
                    what: work.to_string(),
                },
            }
        }
        Query::Works { after, limit, .. } => {
            // Short pages that are not the last, as a rare filter makes them.
            let bag = &script.bags[0];
            let from = after.0 as usize;
            let upto = (from + (*limit as usize).min(3)).min(bag.rows.len());
            let works = (from..upto)
                .filter(|row| row % 2 == 0)
                .map(|row| detail(bag, 0, row).work)
                .collect();
            Reply::Works {
                works,
                next: (upto < bag.rows.len()).then_some(WorkId(upto as u64)),
            }
        }
        Query::Bag(bag) => match script.bags.get((bag.0 as usize).wrapping_sub(1)) {
            Some(found) => Reply::Bag(view(found, bag.0 as usize - 1)),
            None => Reply::NotFound {
                what: bag.to_string(),
            },
        },
        Query::Bags { after, limit } => {
            let bags = script
                .bags
                .iter()
                .enumerate()
                .skip(after.0 as usize)
                .take(*limit as usize);
            Reply::Bags(bags.map(|(index, bag)| view(bag, index)).collect())
        }
        Query::Results { bag, from_row } => {
            script.seen.push("results");
            let index = bag.index() - 1;
            let found = &script.bags[index];
            let from = *from_row as usize;
            let upto = (from + script.results_per_page).min(found.ended);
            let mut frame = Vec::new();
            frame::push(&mut frame, kind::OUTCOMES, |out| {
                Outcomes::begin(out, id, *bag);
                for row in (from..upto).filter(|row| !script.forgotten.contains(&(*row as u32))) {
                    put_outcome(out, index, row, &found.rows[row]);
                }
            });
            say.frame(&frame);
            let next_row = if upto == found.ended {
                found.rows_total
            } else {
                upto as u32
            };
            Reply::ResultsEnd {
                next_row,
                open: found.rows_total - found.ended as u32,
            }
        }
        Query::Worker(worker) if worker.0 == 1 => Reply::Worker(worker_view()),
        Query::Worker(worker) | Query::ExplainWorker(worker) if worker.0 != 1 => Reply::NotFound {
            what: worker.to_string(),
        },
        Query::Workers { after, .. } if after.0 == 0 => Reply::Workers(vec![worker_view()]),
        Query::Workers { .. } => Reply::Workers(Vec::new()),
        Query::Queues => Reply::Queues(Vec::new()),
        Query::Notes { notebook, after } => notebooks::list(script, notebook, after),
        _ => Reply::Explanation(Explanation {
            summary: "so it is".into(),
            facts: vec!["a fact".into()],
        }),
    };
    say.reply(id, reply);
}

pub(super) fn view(bag: &Bag, index: usize) -> BagView {
    BagView {
        bag: BagId(index as u64 + 1),
        first: first_of(index),
        rows_total: bag.rows_total,
        tally: tally(bag),
        priority: bag.template.priority,
        tenant: LOGIN.into(),
        label: bag.template.label.clone(),
        app: bag.template.app.clone(),
        submitted: Instant(0),
    }
}

pub(super) fn detail(bag: &Bag, index: usize, row: usize) -> WorkDetail {
    let failed = bag.rows[row] == b"fail";
    let outcome = if failed {
        Outcome::Failed
    } else {
        Outcome::Succeeded
    };
    let state = if row < bag.ended {
        WorkState::Done(outcome)
    } else {
        WorkState::Queued
    };
    let mut result = Vec::new();
    Output {
        stdout: &bag.rows[row],
        stderr: b"told\n",
        ..Output::default()
    }
    .encode(&mut result);
    WorkDetail {
        work: WorkView {
            work: first_of(index).offset(row as u32),
            bag: BagId(index as u64 + 1),
            row: row as u32,
            state,
            attempt: Attempt(1),
            worker: Some(WorkerId(1)),
            reason: if failed { Reason::ExitCode } else { Reason::None },
            label: bag.template.label.clone(),
            app: bag.template.app.clone(),
            parameters: bag
                .template
                .columns
                .iter()
                .map(|column| {
                    (
                        column.clone(),
                        String::from_utf8_lossy(&bag.rows[row]).into_owned(),
                    )
                })
                .collect(),
            submitted: Instant(0),
        },
        template: bag.template.clone(),
        exit_code: i32::from(failed),
        elapsed_us: 10,
        result,
    }
}

pub(super) fn worker_view() -> WorkerView {
    WorkerView {
        worker: WorkerId(1),
        uid: "uid-1".into(),
        name: "worker-1".into(),
        state: WorkerState::Ready,
        problem: None,
        held: 0,
        finished: 0,
        offer: Offer {
            cores: 1,
            memory: Bytes::from_mib(1),
            slots: 1,
            ..Offer::default()
        },
        silent_for: Millis(1),
        version: "test".into(),
        approval: Approval::Approved,
        certificate: None,
        wallet: None,
    }
}
