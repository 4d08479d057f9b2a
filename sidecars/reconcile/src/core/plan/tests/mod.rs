//! Situations, and the plan that follows from each.

mod scene;

use insta::assert_snapshot;
use wire_hub::{Address, Answer, ContributionStatus, Gas, OrderStatus, Rlc, Timestamp};

use super::*;
use crate::core::order::{Bag, Job, Outcome, Texts};
use crate::core::policy::ConsensusPolicy;
use scene::{POOL, Scene, T0, candidate, order, result, worker};

#[test]
fn a_new_order_is_worked_on_at_once_and_allowed_when_it_is_confirmed() {
    let mut scene = Scene::new(5);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x010101 0x020202 0x030303: trust 5 by Poco needs 3 more
    0xeeeeee wait until 10336: 0 have contributed and 3 still may, which would be enough
    ");
    scene = scene.asked(&[1, 2, 3]);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee allow 0x010101 0x020202 0x030303 (by 12100): they were asked, belong to the pool and have the stake
    0xeeeeee wait until 10300: 0 have contributed and 3 still may, which would be enough
    ");
    scene.orders[0].observed.bought = 102;
    assert_snapshot!(scene.text(), @r"
    0xeeeeee wait: 1 of 2 confirmations; works have begun
    0xeeeeee wait until 10300: 0 have contributed and 3 still may, which would be enough
    ");
    scene.orders[0].observed.bought = 100;
    scene.intended().allowing = [worker(1), worker(2), worker(3)].into();
    assert_snapshot!(scene.text(), @r"
    0xeeeeee wait until 10300: 0 have contributed and 3 still may, which would be enough
    ");
}

#[test]
fn workers_are_of_different_owners_free_subscribed_and_have_the_stake() {
    let mut scene = Scene::new(10_000);
    scene.candidates[1].owner = "owner 1".into();
    scene.candidates[2].is_free = false;
    scene.person(4).affiliation.pool = worker(9);
    scene.person(5).balance.stake = Rlc(299);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x010101: trust 10000 by Poco needs 1 more
    0xeeeeee wait: nobody is left to ask
    ");
    scene.candidates.push(candidate(6));
    scene.candidates[5].person = Answer::Unknown;
    scene.candidates.push(candidate(7));
    scene.part(7, ContributionStatus::Rejected, None);
    scene.part(8, ContributionStatus::Authorized, None);
    scene.candidates.push(candidate(8));
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x010101: trust 10000 by Poco needs 1 more
    0xeeeeee wait: nobody is left to ask
    ");
}

#[test]
fn better_scores_are_asked_first_and_fewer_of_them_are_enough() {
    let mut scene = Scene::new(5);
    scene.person(4).affiliation.score = 18;
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x040404: trust 5 by Poco needs 1 more
    0xeeeeee wait until 10336: 0 have contributed and 1 still may, which would be enough
    ");
}

/// Scenario S3.
#[test]
fn stake_that_one_order_was_promised_is_not_promised_to_another() {
    let mut scene = Scene::new(0);
    scene.orders = (0..5).map(|number| order(0xe0 + number, 0)).collect();
    scene.candidates.truncate(2);
    scene.person(1).balance.stake = Rlc(600);
    scene.person(2).balance.stake = Rlc(300);
    assert_snapshot!(scene.text(), @r"
    0xe0e0e0 submit works for 0x010101: trust 0 by Poco needs 1 more
    0xe0e0e0 wait until 10336: 0 have contributed and 1 still may, which would be enough
    0xe1e1e1 submit works for 0x010101: trust 0 by Poco needs 1 more
    0xe1e1e1 wait until 10336: 0 have contributed and 1 still may, which would be enough
    0xe2e2e2 submit works for 0x020202: trust 0 by Poco needs 1 more
    0xe2e2e2 wait until 10336: 0 have contributed and 1 still may, which would be enough
    0xe3e3e3 wait: nobody is left to ask
    0xe4e4e4 wait: nobody is left to ask
    ");
    scene = scene.asked(&[1]);
    scene.orders.truncate(2);
    scene.person(1).balance.stake = Rlc(300);
    assert_snapshot!(scene.text(), @r"
    0xe0e0e0 allow 0x010101 (by 12100): they were asked, belong to the pool and have the stake
    0xe0e0e0 wait until 10300: 0 have contributed and 1 still may, which would be enough
    0xe1e1e1 submit works for 0x020202: trust 0 by Poco needs 1 more
    0xe1e1e1 wait until 10336: 0 have contributed and 1 still may, which would be enough
    ");
}

/// What has happened to an order since it was read is not known: it is left alone, and what it promised stays promised.
#[test]
fn an_order_that_has_changed_since_is_left_alone_and_keeps_its_stake() {
    let mut scene = Scene::new(0).asked(&[1]);
    scene.orders.push(order(0xef, 0));
    scene.candidates.truncate(2);
    scene.person(1).balance.stake = Rlc(300);
    scene.stale.insert(scene.orders[0].identity);
    assert_snapshot!(scene.text(), @r"
    0xefefef submit works for 0x020202: trust 0 by Poco needs 1 more
    0xefefef wait until 10336: 0 have contributed and 1 still may, which would be enough
    ");
}

/// Scenario E3, and rule 5.
#[test]
fn nobody_who_was_allowed_has_contributed_or_has_left_is_in_a_batch() {
    let mut scene = Scene::new(100)
        .asked(&[1, 2, 3, 4, 5])
        .allowed(&[1])
        .contributed("2a");
    scene.person(3).affiliation.pool = worker(9);
    scene.candidates[3].person = Answer::Unknown;
    assert_snapshot!(scene.text(), @r"
    0xeeeeee cancel works of 0x030303: it left the pool, or its stake is too small now; others are asked instead
    0xeeeeee allow 0x050505 (by 12100): they were asked, belong to the pool and have the stake
    0xeeeeee wait: nobody is left to ask
    ");
}

#[test]
fn many_workers_are_allowed_in_batches() {
    let mut scene = Scene::new(u128::MAX);
    scene.candidates = (1..=120).map(candidate).collect();
    let [submit, ..] = &scene.steps()[..] else {
        panic!("it asks")
    };
    let Action::Submit { workers, .. } = &submit.action else {
        panic!("{submit}")
    };
    assert_eq!(workers.len(), 60, "no more fit into a block at the end");
    let numbers: Vec<u8> = (1..=60).collect();
    scene = scene.asked(&numbers);
    let batches: Vec<usize> = scene
        .steps()
        .iter()
        .filter_map(|step| match &step.action {
            Action::Allow(workers) => Some(workers.len()),
            _ => None,
        })
        .collect();
    assert_eq!(batches, [50, 10]);
}

#[test]
fn a_worker_that_fails_or_does_not_answer_in_time_is_replaced() {
    let mut scene = Scene::new(5).asked(&[1, 2, 3]).allowed(&[1, 2, 3]);
    scene.intended().asked.get_mut(&worker(2)).expect("asked").outcome = Some(Outcome::Failed);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x040404: trust 5 by Poco needs 1 more
    0xeeeeee wait until 10300: 0 have contributed and 3 still may, which would be enough
    ");
    let scene = Scene::new(5).asked(&[1, 2, 3]).allowed(&[1, 2, 3]).at(300);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x040404 0x050505: trust 5 by Poco needs 2 more
    0xeeeeee wait: nobody is left to ask
    ");
}

/// Scenario C1.
#[test]
fn a_result_that_is_believed_is_revealed() {
    let scene = Scene::new(2).asked(&[1, 2, 3]).contributed("1a 2b 3a").at(200);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee reveal consensus 0x61616161 (by 12364): 2 contributed it, enough for trust 2
    ");
}

/// Scenario C2.
#[test]
fn a_tie_asks_one_more() {
    let scene = Scene::new(2).asked(&[1, 2]).contributed("1a 2b").at(200);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee submit works for 0x030303: trust 2 by Poco needs 1 more
    0xeeeeee wait until 10500: 2 have contributed and 1 still may, which would be enough
    ");
}

/// Scenario C3.
#[test]
fn without_agreement_at_the_latest_time_it_stops_spending_or_takes_the_best() {
    let mut scene = Scene::new(100)
        .asked(&[1, 2, 3, 4])
        .contributed("1a 2b 3c")
        .at(2_090);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee cancel works of 0x040404: no result is believed at the latest time
    0xeeeeee wait: nothing more is sent; the order will expire
    ");
    scene.settings.best_effort = true;
    assert_snapshot!(scene.text(), @r"
    0xeeeeee reveal consensus 0x61616161 (by 12364): best effort at the latest time: 1 contributed it
    ");
    assert_snapshot!(scene.at(2_360).text(), @r"
    0xeeeeee cancel works of 0x040404: no result is believed at the latest time
    0xeeeeee wait: nothing more is sent; the order will expire
    ");
}

#[test]
fn a_contradiction_that_nobody_can_end_waits_for_the_latest_time() {
    let mut scene = Scene::new(0).asked(&[1, 2]).contributed("1a 2b").at(200);
    scene.settings.consensus = ConsensusPolicy::Unanimity { workers: Some(2) };
    assert_snapshot!(scene.text(), @r"
    0xeeeeee wait until 12100: the contributions contradict each other for good
    ");
}

/// Fact 6 and rule 7.
#[test]
fn revealing_never_begins_after_eight_periods_less_the_margin() {
    for (seconds, calls) in [
        (2_351, 1),
        (2_352, 1),
        (2_353, 0),
        (2_900, 0),
        (3_000, 0),
        (3_001, 0),
    ] {
        let scene = Scene::new(0).asked(&[1]).contributed("1a").at(seconds);
        assert_eq!(scene.calls(), calls, "{seconds}: {}", scene.text());
    }
}

/// Rule 1: a third contributed just before, and it is waited for.
#[test]
fn who_must_reveal_is_read_from_the_chain() {
    let scene = Scene::new(0)
        .asked(&[1, 2, 4, 5])
        .contributed("1a 2b 3a")
        .allowed(&[4])
        .revealing('a', 100)
        .at(150);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee cancel works of 0x040404 0x050505: the order is decided without them, which costs them nothing
    0xeeeeee wait until 10700: 2 of 2 winners have not revealed; who has not by then loses its stake
    ");
}

/// The works of a bag come first, then the workers that contribute the root over their results.
#[test]
fn workers_are_asked_once_the_works_of_a_bag_are_done() {
    let mut scene = Scene::new(0);
    let mut text = |job| {
        scene.intended().job = job;
        scene.text()
    };
    let jobs = [
        Job::Unread,
        Job::Bag(Bag::Wanted),
        Job::Bag(Bag::Asked),
        Job::Bag(Bag::Failed),
        Job::Bag(Bag::Done(result('a'))),
    ];
    assert_snapshot!(jobs.map(&mut text).join("\n"), @r"
    0xeeeeee wait: its parameters are not read yet
    0xeeeeee submit its works: the whole pool does its works; what is contributed is the root over their results
    0xeeeeee wait until 12100: its works are under way
    0xeeeeee wait: its works were cancelled, so that there is no root
    0xeeeeee submit works for 0x010101: trust 0 by Poco needs 1 more
    0xeeeeee wait until 10336: 0 have contributed and 1 still may, which would be enough
    ");
}

/// Scenario R1.
#[test]
fn a_partial_reveal_is_finalized_when_the_time_to_reveal_is_over() {
    let scene = Scene::new(0)
        .asked(&[1, 2])
        .contributed("1a 2a")
        .revealing('a', 100)
        .revealed(&[1])
        .with_result();
    assert_snapshot!(scene.clone().at(699).text(), @r"
    0xeeeeee wait until 10700: 1 of 2 winners have not revealed; who has not by then loses its stake
    ");
    assert_snapshot!(scene.clone().at(700).text(), @r#"
    0xeeeeee finalize stdout="" uri="xw://pool/1" (by 12964): 1 of 2 winners have revealed
    "#);
    for (seconds, calls) in [(2_952, 1), (2_953, 0), (3_000, 0), (3_001, 0)] {
        assert_eq!(scene.clone().at(seconds).calls(), calls, "{seconds}");
    }
}

#[test]
fn when_all_have_revealed_it_is_finalized_at_once() {
    let mut scene = Scene::new(0)
        .asked(&[1, 2])
        .contributed("1a 2a")
        .revealing('a', 100)
        .revealed(&[1, 2])
        .at(150);
    assert_snapshot!(scene.text(), @r"
    0xeeeeee wait until 12700: it is revealed, and its result is not here yet
    ");
    assert_snapshot!(scene.clone().at(2_660).text(), @r#"
    0xeeeeee finalize stdout="" uri="" (by 12964): 2 of 2 winners have revealed
    "#);
    scene = scene.with_result();
    assert_snapshot!(scene.text(), @r#"
    0xeeeeee finalize stdout="" uri="xw://pool/1" (by 12964): 2 of 2 winners have revealed
    "#);
    scene.views().order.callback = worker(0xcb);
    scene.orders[0].identity.fingerprint = scene.views().order.fingerprint();
    assert_snapshot!(scene.text(), @r#"
    0xeeeeee finalize stdout="42" uri="xw://pool/1" (by 12964): 2 of 2 winners have revealed
    "#);
}

/// Scenario R2.
#[test]
fn if_nobody_revealed_it_is_reopened_for_others_while_there_is_time() {
    let scene = Scene::new(0)
        .asked(&[1, 2])
        .contributed("1a 2b")
        .revealing('a', 100);
    assert_snapshot!(scene.clone().at(700).text(), @r"
    0xeeeeee reopen (by 12364): nobody revealed in time; others may, and whoever did not is out
    ");
    assert_snapshot!(scene.clone().at(2_360).text(), @r"
    0xeeeeee wait: nobody revealed, and no time is left for others; the order will expire
    ");
    let mut reopened = scene.with_status(OrderStatus::Active).at(720);
    reopened.part(1, ContributionStatus::Rejected, Some(result('a')));
    reopened.intended().rounds = 1;
    assert_snapshot!(reopened.text(), @r"
    0xeeeeee reveal consensus 0x62626262 (by 12364): 1 contributed it, enough for trust 0
    ");
}

/// Scenarios T1, T2, and everything that is over.
#[test]
fn nothing_is_ever_sent_for_what_is_over() {
    let base = Scene::new(0).asked(&[1, 2]).contributed("1a").with_result();
    let mut gone = base.clone();
    gone.orders[0].observed.views = Answer::Absent;
    let mut other = base.clone();
    other.views().order.params = "echo 43".into();
    let revealing = base.clone().revealing('a', 2_000).revealed(&[1]);
    let cases = [
        base.clone().at(3_001),
        revealing.at(3_001),
        base.clone().with_status(OrderStatus::Claimed).at(3_100),
        base.clone().with_status(OrderStatus::Completed),
        base.with_status(OrderStatus::Unset),
        gone,
        other,
    ];
    let mut text = String::new();
    for scene in cases {
        assert_eq!(scene.calls(), 0);
        text += &(scene.text() + "\n");
    }
    assert_snapshot!(text, @r"
    0xeeeeee cancel works of 0x020202: the order's time has passed
    0xeeeeee cancel works of 0x020202: the order's time has passed
    0xeeeeee cancel works of 0x020202: the requester took its money back
    0xeeeeee cancel works of 0x020202: the order is completed
    0xeeeeee cancel works of 0x020202: a reorganisation took the order back
    0xeeeeee cancel works of 0x020202: a reorganisation took the order back
    0xeeeeee cancel works of 0x020202: a reorganisation gave its address to another order
    ");
}

#[test]
fn an_answer_that_is_missing_changes_nothing() {
    let mut scene = Scene::new(0).asked(&[1]);
    scene.orders[0].observed.views = Answer::Unknown;
    assert_snapshot!(scene.text(), @r"
    0xeeeeee wait: the node has not answered
    ");
}

#[test]
fn the_requesters_contract_is_told_once_and_only_if_the_operator_pays() {
    let mut scene = Scene::new(0).with_status(OrderStatus::Completed);
    scene.views().order.callback = worker(0xcb);
    scene.orders[0].identity.fingerprint = scene.views().order.fingerprint();
    scene.orders[0].observed.result = Some(Texts {
        stdout: "42".into(),
        ..Texts::default()
    });
    assert_eq!(scene.calls(), 0);
    scene.settings.callback_gas_max = Some(Gas(200_000));
    assert_snapshot!(scene.text(), @r"
    0xeeeeee call back with 200000 gas: the requester named a contract that waits for the result
    ");
    let first = scene.steps()[0].intent().expect("a call");
    assert_eq!(first.gas_limit, Gas(200_000));
    // Once more, as another transaction, if it did not take it; and then never again.
    scene.intended().refusals = 1;
    assert_ne!(scene.steps()[0].intent().expect("a call").id, first.id);
    scene.intended().refusals = 2;
    assert_eq!(scene.calls(), 0);
    scene.intended().refusals = 0;
    scene.views().is_callback_done = true;
    assert_eq!(scene.calls(), 0);
}

#[test]
fn a_worker_that_was_wrong_too_often_is_evicted() {
    let mut scene = Scene::new(0).with_status(OrderStatus::Completed);
    scene.faults = [(worker(1), 3), (worker(2), 2), (worker(3), 9)].into();
    scene.person(3).affiliation.pool = Address([0; 20]);
    assert_eq!(scene.text(), "");
    scene.settings.evict_after = Some(3);
    assert_snapshot!(scene.text(), @r"
    pool evict 0x010101: it was wrong or did not reveal 3 times; 3 are too many
    ");
}

#[test]
fn one_bad_order_never_keeps_another_from_its_steps() {
    let mut scene = Scene::new(0);
    scene.intended().job = Job::Unrunnable("params are no JSON".into());
    scene.orders.push(order(0xef, 0));
    scene.orders.push(order(0xed, 0));
    scene.orders[2].observed.views = Answer::Unknown;
    assert_snapshot!(scene.text(), @r"
    0xeeeeee wait: its parameters make no works: params are no JSON
    0xefefef submit works for 0x010101: trust 0 by Poco needs 1 more
    0xefefef wait until 10336: 0 have contributed and 1 still may, which would be enough
    0xededed wait: the node has not answered
    ");
}

#[test]
fn the_same_step_has_the_same_name_until_it_was_done_in_vain() {
    let mut scene = Scene::new(0).asked(&[1]).contributed("1a").at(200);
    let name = |scene: &Scene| scene.steps()[0].intent().expect("a call").id;
    let first = name(&scene);
    assert_eq!(name(&scene.clone().at(212)), first);
    scene.intended().rounds += 1;
    assert_ne!(name(&scene), first);
    scene.intended().rounds -= 1;
    scene.orders[0].identity.block = result('z');
    assert_ne!(name(&scene), first, "another order");
}

/// A restart makes the same plan from the same facts; so does another order of them.
#[test]
fn a_plan_follows_from_facts_alone() {
    let mut scene = Scene::new(5).asked(&[1, 2]).contributed("1a");
    scene.orders.push(order(0xef, 2));
    let text = scene.text();
    scene.orders.reverse();
    assert_eq!(scene.text(), text);
    assert_eq!(scene.orders[0].observed.at.timestamp, Timestamp(T0 + 36));
    assert_eq!(
        POOL,
        scene.orders[0]
            .observed
            .views
            .known()
            .expect("views")
            .order
            .workerpool
    );
}

/// Rule 11.
#[test]
fn the_same_result_for_other_parameters_is_told() {
    let mut scene = Scene::new(0).contributed("1a 2b");
    let mut other = Scene::new(0).contributed("3a 4c");
    other.orders[0].identity.woid = worker(0xef);
    other.views().order.params = "echo 43".into();
    scene.orders.push(other.orders[0].clone());
    let found = replays(&scene.orders);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].worker, found[0].hash), (worker(3), result('a')));
    let same = |order: &mut Order| match &mut order.observed.views {
        Answer::Known(views) => views.order.params = "echo 42".into(),
        other => panic!("{other:?}"),
    };
    same(&mut scene.orders[1]);
    assert_eq!(
        replays(&scene.orders),
        [],
        "the same question may have the same answer"
    );
}
