//! Categories: limits by name, resolved when works are submitted.

use engine_core::Config;
use wire_protocol::category::Category;
use wire_protocol::client_link::{Open, Query};
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::view::Reply;

use crate::kit::{ClientHeard, Pool, null};

fn in_category(name: &str) -> WorkTemplate {
    let mut template = WorkTemplate {
        category: Some(name.to_owned()),
        ..null()
    };
    template.limits.wall_clock = Millis(0);
    template
}

fn rejected(pool: &mut Pool, template: WorkTemplate) -> String {
    let client = pool.client("alice");
    let open = Open {
        request: 1,
        key: [0; 16],
        rows_total: 1,
        follow: false,
        template,
    };
    pool.open(client, &open);
    match &pool.client_heard(client)[..] {
        [ClientHeard::Rejected(rejected)] => rejected.invalid.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_that_are_not_given_are_those_of_the_category() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let mut template = in_category("M");
    template.limits.memory = Bytes::from_mib(100);
    pool.submit(client, template, 1);
    let limits = pool.leases(worker)[0].template.limits;
    assert_eq!(limits.wall_clock, Millis::from_secs(1_800));
    assert_eq!(
        limits.memory,
        Bytes::from_mib(100),
        "what is given and lower stays"
    );
    assert_eq!(
        (limits.disk, limits.files),
        (Bytes::from_mib(20_480), Bytes::from_mib(500))
    );
}

#[test]
fn a_limit_above_its_ceiling_and_a_category_that_there_is_not_are_rejected_by_name() {
    let mut pool = Pool::new();
    let mut template = in_category("XS");
    template.limits.wall_clock = Millis::from_secs(600);
    assert_eq!(
        rejected(&mut pool, template),
        "limits.wall_clock: is 10 min; works of category XS may have at most 5 min"
    );
    assert_eq!(
        rejected(&mut pool, in_category("XXL")),
        "category: `XXL` is none of this pool's; it has XS, S, M, L, XL"
    );
}

#[test]
fn a_submission_goes_on_after_its_category_has_changed() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let mut open = Open {
        request: 1,
        key: [7; 16],
        rows_total: 2,
        follow: false,
        template: in_category("S"),
    };
    pool.open(client, &open);
    let bag = pool.accepted(client).expect("a good submission").bag;
    pool.config.categories = vec![Category {
        name: "S".to_owned(),
        wall_clock: Millis(7_000),
        ..Category::default()
    }];
    pool.restart();
    let client = pool.client("alice");
    pool.open(client, &open);
    assert_eq!(pool.accepted(client).expect("it is known").bag, bag);
    open.key = [8; 16];
    open.request = 2;
    pool.open(client, &open);
    assert_ne!(pool.accepted(client).expect("another").bag, bag);
}

#[test]
fn categories_are_listed_in_the_operators_order() {
    let categories = vec![
        Category {
            name: "night".to_owned(),
            ..Category::default()
        },
        Category::defaults().remove(0),
    ];
    let mut pool = Pool::with(Config {
        categories: categories.clone(),
        ..Config::default()
    });
    let client = pool.client("alice");
    assert_eq!(
        pool.query(client, Query::Categories),
        Reply::Categories(categories)
    );
}
