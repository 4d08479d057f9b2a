//! Which result is believed: the table of the reference, and arithmetic and verdicts at their limits.

use std::fmt::Write;

use proptest::prelude::*;
use wire_hub::{Hash, Timestamp, Trust};

use super::*;

const POLICIES: [ConsensusPolicy; 4] = [
    ConsensusPolicy::Poco,
    ConsensusPolicy::Sarmenta,
    ConsensusPolicy::Unanimity { workers: None },
    ConsensusPolicy::Majority { agreeing: 2, of: 3 },
];
const PATIENCE_S: u64 = 60;

fn hash(letter: char) -> Hash {
    Hash([letter as u8; 32])
}

/// A ballot by a new worker for each letter.
fn ballots(letters: &str) -> Vec<Ballot> {
    let ballot = |letter| Ballot {
        hash: hash(letter),
        score: 0,
    };
    letters.chars().map(ballot).collect()
}

/// New workers, asked at these times.
fn asked(times: &[u64]) -> Vec<Pending> {
    let pending = |time: &u64| Pending {
        score: 0,
        since: Timestamp(*time),
    };
    times.iter().map(pending).collect()
}

fn verdict(
    policy: ConsensusPolicy,
    trust: u128,
    ballots: &[Ballot],
    pending: &[Pending],
    now: u64,
) -> Verdict {
    policy.verdict(&Question {
        trust: Trust(trust),
        ballots,
        pending,
        patience_s: PATIENCE_S,
        now: Timestamp(now),
    })
}

/// How many new workers that agree are enough.
fn enough(policy: ConsensusPolicy, trust: u128) -> usize {
    let is_reached = |count: &usize| {
        let ballots = ballots(&"a".repeat(*count));
        matches!(verdict(policy, trust, &ballots, &[], 0), Verdict::Reached { .. })
    };
    (1..100).find(is_reached).expect("at most 14")
}

/// The table of `poco-v2.md` 2.8.
#[test]
fn agreeing_workers_needed_are_those_of_the_technical_report() {
    let mut table = String::from("trust   poco  sarmenta  unanimity\n");
    for trust in [0, 1, 2, 5, 10, 30, 100, 10_000] {
        let [poco, sarmenta, unanimity, _] = POLICIES.map(|policy| enough(policy, trust));
        writeln!(table, "{trust:<7} {poco:<5} {sarmenta:<9} {unanimity}").expect("a string");
    }
    insta::assert_snapshot!(table, @r"
    trust   poco  sarmenta  unanimity
    0       1     1         1
    1       1     1         1
    2       1     1         1
    5       3     2         1
    10      4     2         1
    30      5     3         3
    100     7     4         10
    10000   14    7         10
    ");
}

#[test]
fn the_fewest_that_can_do_are_asked_and_then_waited_for() {
    let poco = ConsensusPolicy::Poco;
    for (already, expected) in [
        (0, Verdict::OneMore),
        (1, Verdict::OneMore),
        (2, Verdict::OneMore),
    ] {
        assert_eq!(verdict(poco, 5, &[], &asked(&vec![0; already]), 0), expected);
    }
    let until = Timestamp(PATIENCE_S);
    assert_eq!(
        verdict(poco, 5, &[], &asked(&[0, 5, 9]), 10),
        Verdict::Waiting { until }
    );
    assert_eq!(
        verdict(poco, 5, &ballots("a"), &asked(&[5, 0]), 10),
        Verdict::Waiting { until }
    );
}

#[test]
fn a_worker_counts_as_pending_for_as_long_as_a_work_may_take_and_then_no_more() {
    let pending = asked(&[0, 0, 0]);
    let waiting = Verdict::Waiting {
        until: Timestamp(PATIENCE_S),
    };
    assert_eq!(
        verdict(ConsensusPolicy::Poco, 5, &[], &pending, PATIENCE_S - 1),
        waiting
    );
    assert_eq!(
        verdict(ConsensusPolicy::Poco, 5, &[], &pending, PATIENCE_S),
        Verdict::OneMore
    );
}

#[test]
fn a_tie_asks_for_one_more_and_a_majority_decides_it() {
    let poco = ConsensusPolicy::Poco;
    assert_eq!(verdict(poco, 2, &ballots("ab"), &[], 0), Verdict::OneMore);
    let waiting = Verdict::Waiting {
        until: Timestamp(PATIENCE_S),
    };
    // 2² · 2 > (1 + 2² + 2) · 1: one that agrees would be enough.
    assert_eq!(verdict(poco, 2, &ballots("ab"), &asked(&[0]), 0), waiting);
    let reached = Verdict::Reached {
        hash: hash('a'),
        agreeing: 2,
    };
    assert_eq!(verdict(poco, 2, &ballots("aba"), &[], 0), reached);
    let majority = ConsensusPolicy::Majority { agreeing: 2, of: 3 };
    assert_eq!(verdict(majority, 100, &ballots("ab"), &[], 0), Verdict::OneMore);
    assert_eq!(verdict(majority, 100, &ballots("aba"), &[], 0), reached);
}

#[test]
fn what_counts_rather_than_weighs_says_when_nothing_can_help_any_more() {
    let unanimity = ConsensusPolicy::Unanimity { workers: Some(2) };
    assert_eq!(
        verdict(unanimity, 0, &ballots("ab"), &[], 0),
        Verdict::Contradicted
    );
    assert_eq!(
        verdict(unanimity, 0, &ballots("aab"), &[], 0),
        Verdict::Contradicted
    );
    let majority = ConsensusPolicy::Majority { agreeing: 2, of: 3 };
    assert_eq!(
        verdict(majority, 0, &ballots("abc"), &[], 0),
        Verdict::Contradicted
    );
    // One of three is out with another result, the last one is late: nobody is left to ask, but it may still come.
    let waiting = Verdict::Waiting {
        until: Timestamp(PATIENCE_S),
    };
    assert_eq!(verdict(majority, 0, &ballots("a"), &asked(&[0]), 0), waiting);
}

#[test]
fn nothing_wanted_takes_the_heaviest_result_and_of_equal_ones_the_first() {
    let first = Verdict::Reached {
        hash: hash('b'),
        agreeing: 1,
    };
    assert_eq!(verdict(ConsensusPolicy::Poco, 0, &ballots("ba"), &[], 0), first);
    let mut heavier = ballots("bba");
    heavier[2].score = 100;
    assert_eq!(ConsensusPolicy::Poco.best(&heavier), Some((hash('a'), 1)));
    assert_eq!(ConsensusPolicy::Poco.best(&[]), None);
}

#[test]
fn numbers_that_overflowed_the_predecessors_do_not_here() {
    let heavy = Ballot {
        hash: hash('a'),
        score: u64::MAX,
    };
    for policy in [ConsensusPolicy::Poco, ConsensusPolicy::Sarmenta] {
        let against = vec![
            Ballot {
                hash: hash('b'),
                ..heavy
            };
            30
        ];
        let all: Vec<Ballot> = vec![heavy; 60].into_iter().chain(against).collect();
        let reached = Verdict::Reached {
            hash: hash('a'),
            agreeing: 60,
        };
        assert_eq!(verdict(policy, u128::MAX, &all, &[], 0), reached);
        let tie: Vec<Ballot> = [
            vec![heavy; 30],
            vec![
                Ballot {
                    hash: hash('b'),
                    ..heavy
                };
                30
            ],
        ]
        .concat();
        assert_eq!(verdict(policy, u128::MAX, &tie, &[], 0), Verdict::OneMore);
    }
}

proptest! {
    #[test]
    fn two_results_are_never_both_believed(letters in "[a-c]{1,12}", scores in proptest::collection::vec(0_u64..200, 12), trust in 2_u128..1_000) {
        let all: Vec<Ballot> = ballots(&letters).into_iter().zip(scores).map(|(ballot, score)| Ballot { score, ..ballot }).collect();
        for policy in [ConsensusPolicy::Poco, ConsensusPolicy::Sarmenta] {
            let groups = policy.groups(&all);
            let believed = groups.iter().filter(|group| policy.believes(group, &groups, Trust(trust))).count();
            prop_assert!(believed <= 1, "{policy:?}");
        }
    }

    #[test]
    fn asking_one_after_the_other_always_ends(trust in 0_u128..100_000, letters in "[ab]{0,6}") {
        for policy in POLICIES {
            let mut pending = Vec::new();
            while verdict(policy, trust, &ballots(&letters), &pending, 0) == Verdict::OneMore {
                pending.push(Pending { score: 0, since: Timestamp(0) });
                prop_assert!(pending.len() < 60, "{policy:?}");
            }
        }
    }
}

#[test]
fn policies_are_read_as_operators_write_them() {
    let read = |text: &str| text.parse::<ConsensusPolicy>().ok();
    assert_eq!(read("poco"), Some(ConsensusPolicy::Poco));
    assert_eq!(read("sarmenta"), Some(ConsensusPolicy::Sarmenta));
    assert_eq!(
        read("unanimity"),
        Some(ConsensusPolicy::Unanimity { workers: None })
    );
    assert_eq!(
        read("unanimity:3"),
        Some(ConsensusPolicy::Unanimity { workers: Some(3) })
    );
    assert_eq!(
        read("majority:2/3"),
        Some(ConsensusPolicy::Majority { agreeing: 2, of: 3 })
    );
    for wrong in [
        "",
        "Poco",
        "unanimity:0",
        "unanimity:x",
        "majority",
        "majority:3/2",
        "majority:2",
        "poco:1",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}
