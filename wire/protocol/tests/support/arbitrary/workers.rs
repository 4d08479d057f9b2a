//! What workers and the engine say to each other.

use super::*;

pub(super) fn report() -> impl Strategy<Value = AReport> {
    (token(), reason(), any::<i32>(), any::<u32>(), blob()).prop_map(
        |(token, reason, exit_code, elapsed_us, result)| AReport {
            token,
            reason,
            exit_code,
            elapsed_us,
            result,
        },
    )
}

pub(super) fn listed(make: fn(Reason, Vec<LeaseToken>) -> Message) -> impl Strategy<Value = Message> {
    (reason(), tokens()).prop_map(move |(reason, tokens)| make(reason, tokens))
}

pub(super) fn idle() -> impl Strategy<Value = worker_link::Idle> {
    use worker_link::IdleCause::{Backoff, Draining, Next, NoMatch, NothingQueued};
    (
        select(vec![Backoff, Draining, Next, NoMatch, NothingQueued]),
        text(),
        texts(),
    )
        .prop_map(|(cause, summary, facts)| worker_link::Idle {
            cause,
            explanation: Explanation { summary, facts },
        })
}

pub(super) fn from_worker() -> BoxedStrategy<Message> {
    prop_oneof![
        join().prop_map(|it| Message::Join(Box::new(it))).boxed(),
        (any::<u64>(), vec(report(), 0..12))
            .prop_map(|(first, reports)| Message::Finished { first, reports })
            .boxed(),
        listed(|reason, tokens| Message::Started { reason, tokens }).boxed(),
        listed(|reason, tokens| Message::Retracted { reason, tokens }).boxed(),
        select(vec![Message::Ping, Message::WhyIdle]).boxed(),
        option::of(any::<u64>())
            .prop_map(|within| Message::Draining(worker_link::Draining {
                within: within.map(Millis)
            }))
            .boxed(),
        listed(|reason, tokens| Message::LogTold { reason, tokens }).boxed(),
        (token(), chunk())
            .prop_map(|(token, chunk)| Message::Log { token, chunk })
            .boxed(),
        listed(|reason, tokens| Message::GrantAsked { reason, tokens }).boxed(),
        option::of(text())
            .prop_map(|problem| Message::Holding(worker_link::Holding { problem }))
            .boxed(),
        vec(any::<u8>(), 0..40)
            .prop_map(|request| Message::Renew(Box::new(joining::Renew { request })))
            .boxed(),
    ]
    .boxed()
}

pub(super) fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![
        text().prop_map(|reason| Notice::Cordoned { reason }),
        (token(), text()).prop_map(|(token, recorded)| Notice::Stale { token, recorded }),
        select(vec![Notice::Uncordoned, Notice::ShuttingDown]),
    ]
}

pub(super) fn grant_answer() -> impl Strategy<Value = GrantAnswer> {
    prop_oneof![
        (text(), text()).prop_map(|(url, grant)| GrantAnswer::Granted { url, grant }),
        text().prop_map(|reason| GrantAnswer::Refused { reason }),
    ]
}

pub(super) fn to_worker() -> BoxedStrategy<Message> {
    let welcome = (any::<(u32, u16, u32, u64, u64)>(), tokens()).prop_map(
        |((worker, shard, epoch, timeout, heartbeat), adopted)| worker_link::Welcome {
            worker: WorkerId(worker),
            shard: Shard(shard),
            epoch: Epoch(epoch),
            lease_timeout: Millis(timeout),
            heartbeat: Millis(heartbeat),
            adopted,
        },
    );
    let defined = (any::<u32>(), template())
        .prop_map(|(template, definition)| worker_link::TemplateDefined { template, definition });
    prop_oneof![
        welcome.prop_map(Message::WorkerWelcome).boxed(),
        refused().prop_map(Message::WorkerRefused).boxed(),
        defined.prop_map(|it| Message::Template(Box::new(it))).boxed(),
        (any::<u32>(), vec((token(), blob()), 0..12))
            .prop_map(|(template, works)| Message::Assign { template, works })
            .boxed(),
        any::<u64>().prop_map(|upto| Message::Recorded { upto }).boxed(),
        listed(|reason, tokens| Message::Retract { reason, tokens }).boxed(),
        listed(|reason, tokens| Message::Cancel { reason, tokens }).boxed(),
        notice().prop_map(Message::Notice).boxed(),
        Just(Message::Pong).boxed(),
        (token(), grant_answer())
            .prop_map(|(token, answer)| Message::Granted(worker_link::Granted { token, answer }))
            .boxed(),
        (vec(any::<u8>(), 0..40), at(), at())
            .prop_map(|(certificate, not_before, not_after)| {
                Message::Certificate(Box::new(joining::Certified {
                    certificate,
                    not_before,
                    not_after,
                }))
            })
            .boxed(),
        (text(), option::of(any::<u64>()))
            .prop_map(|(reason, within)| Message::Drain(worker_link::Drain {
                reason,
                within: within.map(Millis)
            }))
            .boxed(),
        (
            token(),
            select(vec![log::LogWish::Once, log::LogWish::Follow, log::LogWish::Stop])
        )
            .prop_map(|(token, wish)| Message::FollowLog(log::FollowLog { token, wish }))
            .boxed(),
        idle().prop_map(Message::Idle).boxed(),
    ]
    .boxed()
}
