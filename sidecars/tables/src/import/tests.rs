//! What comes over and what does not.

use proptest::prelude::*;

use super::*;

fn user(uid: &str, login: &str, rights: &str) -> OldUser {
    OldUser {
        uid: uid.to_owned(),
        login: login.to_owned(),
        rights: rights.to_owned(),
        password: Secret("open sesame".to_owned()),
        ..OldUser::default()
    }
}

fn group(uid: &str, label: &str) -> OldGroup {
    OldGroup {
        uid: uid.to_owned(),
        label: label.to_owned(),
        deleted: false,
    }
}

fn app(uid: &str, name: &str, kind: &str, envvars: &str) -> OldApp {
    OldApp {
        uid: uid.to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        envvars: envvars.to_owned(),
        ..OldApp::default()
    }
}

fn pair(left: &str, right: &str) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

/// The tables after an import.
fn after(ours: &Present, import: &Import) -> Present {
    let mut ours = ours.clone();
    let accounts = import.accounts.iter();
    ours.accounts
        .extend(accounts.map(|account| (account.login.clone(), Some(account.origin.clone()))));
    let groups = import.groups.iter();
    ours.groups
        .extend(groups.map(|group| (group.name.clone(), Some(group.origin.clone()))));
    let apps = import.apps.iter();
    ours.apps
        .extend(apps.map(|app| (app.name.clone(), Some(app.origin.clone()))));
    let categories = import.categories.iter();
    ours.categories
        .extend(categories.map(|category| (category.id, category.clone())));
    ours.memberships.extend(import.memberships.iter().cloned());
    ours
}

/// What becomes of each row, as `kind name: fate detail`.
fn told(import: &Import) -> Vec<String> {
    let item = |item: &ImportItem| {
        let text = format!(
            "{} {}: {} {}",
            item.kind,
            item.name,
            item.fate,
            item.fate.detail()
        );
        text.trim_end().to_owned()
    };
    import.items.iter().map(item).collect()
}

#[test]
fn a_right_becomes_a_role_or_the_user_stays_behind() {
    let rights = [
        ("SUPER_USER", Some(Role::Admin)),
        ("ADVANCED_USER", Some(Role::Operator)),
        ("STANDARD_USER", Some(Role::User)),
        ("WORKER_USER", Some(Role::Worker)),
        ("VWORKER_USER", Some(Role::Worker)),
        ("MANDATED_USER", None),
        ("INSERTJOB", None),
        ("NONE", None),
        ("", None),
    ];
    for (right, wanted) in rights {
        let theirs = Predecessor {
            users: vec![user("1", "anna", right)],
            ..Predecessor::default()
        };
        let import = plan(&theirs, &Present::default());
        let roles: Vec<_> = import.accounts.iter().map(|account| account.role).collect();
        assert_eq!(roles, Vec::from_iter(wanted), "{right}");
        if wanted.is_none() {
            let why = Skipped::Right(right.to_owned());
            assert_eq!(import.items[0].fate, Fate::Skipped(why));
        }
    }
}

#[test]
fn what_is_deleted_or_has_no_name_stays_behind() {
    let mut gone = user("1", "gone", "STANDARD_USER");
    gone.deleted = true;
    let theirs = Predecessor {
        users: vec![
            gone,
            user("2", " ", "STANDARD_USER"),
            user("3", "a\u{7}b", "STANDARD_USER"),
        ],
        groups: vec![OldGroup {
            deleted: true,
            ..group("g", "staff")
        }],
        memberships: [pair("1", "g"), pair("2", "nowhere")].into(),
        ..Predecessor::default()
    };
    let import = plan(&theirs, &Present::default());
    assert_eq!(
        told(&import),
        [
            "user gone: skipped it is deleted there",
            "user  : skipped its name is empty or has characters that cannot be seen",
            "user a\u{7}b: skipped its name is empty or has characters that cannot be seen",
            "group staff: skipped it is deleted there",
            "membership gone in staff: skipped the user or the group does not come over",
            "membership   in nowhere: skipped the user or the group does not come over",
        ]
    );
    assert!(!import.has_conflicts());
    assert!(import.accounts.is_empty() && import.memberships.is_empty());
}

#[test]
fn an_account_keeps_what_is_known_of_it() {
    let wallet = "0xAbCdEf0123456789aBcDeF0123456789abcdef01";
    let mut named = user("1", wallet, "STANDARD_USER");
    named.first_name = Some("Anna".to_owned());
    named.last_name = Some(String::new());
    named.email = Some("anna@example.org".to_owned());
    let mut silent = user("2", "bert", "STANDARD_USER");
    silent.password = Secret::default();
    let theirs = Predecessor {
        users: vec![named, silent],
        ..Predecessor::default()
    };
    let import = plan(&theirs, &Present::default());
    let [anna, bert] = <[NewAccount; 2]>::try_from(import.accounts).expect("both come over");
    assert_eq!(anna.wallet, Some(wallet.to_ascii_lowercase()));
    assert_eq!((anna.first_name.as_deref(), anna.last_name), (Some("Anna"), None));
    assert_eq!(anna.email.as_deref(), Some("anna@example.org"));
    assert_eq!(anna.password, Some(Secret("open sesame".to_owned())));
    assert_eq!(anna.origin, "xwhep:1");
    assert_eq!((bert.password, bert.wallet), (None, None));
}

#[test]
fn a_password_is_not_printed() {
    let theirs = Predecessor {
        users: vec![user("1", "anna", "STANDARD_USER")],
        ..Predecessor::default()
    };
    let import = plan(&theirs, &Present::default());
    let printed = format!("{theirs:?} {import:?} {:?}", told(&import));
    assert!(!printed.contains("sesame"), "{printed}");
}

#[test]
fn the_same_name_from_elsewhere_is_a_conflict() {
    let theirs = Predecessor {
        users: vec![
            user("1", "admin", "SUPER_USER"),
            user("2", "anna", "STANDARD_USER"),
        ],
        groups: vec![group("g", "staff"), group("h", "staff")],
        apps: vec![app("a", "blender", "DOCKER", "XWDOCKERIMAGE=blender")],
        memberships: [pair("1", "g"), pair("2", "g"), pair("2", "h")].into(),
        ..Predecessor::default()
    };
    let ours = Present {
        accounts: [("admin".to_owned(), None)].into(),
        apps: [("blender".to_owned(), Some("xwhep:other".to_owned()))].into(),
        ..Present::default()
    };
    let import = plan(&theirs, &ours);
    assert!(import.has_conflicts());
    let taken =
        "there is one of that name here already, which did not come from there; rename one of the two";
    assert_eq!(
        told(&import),
        [
            format!("user admin: conflict {taken}"),
            "user anna: added as user".to_owned(),
            "group staff: added".to_owned(),
            "group staff: conflict another one there has the same name; rename one of the two".to_owned(),
            "membership admin in staff: skipped the user or the group does not come over".to_owned(),
            "membership anna in staff: added".to_owned(),
            "membership anna in staff: skipped the user or the group does not come over".to_owned(),
            format!("app blender: conflict {taken}"),
        ]
    );
    assert_eq!(import.memberships, [pair("staff", "anna")]);
}

#[test]
fn what_came_over_is_known_by_where_it_came_from() {
    let theirs = Predecessor {
        users: vec![user("1", "anna", "STANDARD_USER")],
        groups: vec![group("g", "staff")],
        memberships: [pair("1", "g")].into(),
        ..Predecessor::default()
    };
    // Renamed here since.
    let ours = Present {
        accounts: [("anne".to_owned(), Some("xwhep:1".to_owned()))].into(),
        groups: [("people".to_owned(), Some("xwhep:g".to_owned()))].into(),
        ..Present::default()
    };
    let import = plan(&theirs, &ours);
    assert_eq!(
        told(&import),
        [
            "user anna: known",
            "group staff: known",
            "membership anne in people: added"
        ]
    );
    assert!(import.accounts.is_empty() && import.groups.is_empty());
    assert_eq!(import.memberships, [pair("people", "anne")]);
}

#[test]
fn an_app_comes_over_with_its_image_and_its_owner() {
    let address = "0xAbCdEf0123456789aBcDeF0123456789abcdef01";
    let mut of_the_chain = app("a", address, "DOCKER", "XWDOCKERIMAGE=iexec/face:1.0");
    of_the_chain.owner = "1".to_owned();
    of_the_chain.price = Some(3);
    let theirs = Predecessor {
        users: vec![user("1", "anna", "STANDARD_USER")],
        apps: vec![
            of_the_chain,
            app("b", "ls", "DEPLOYABLE", ""),
            app("c", "dock", "DOCKER", "A=1"),
        ],
        ..Predecessor::default()
    };
    let import = plan(&theirs, &Present::default());
    assert_eq!(
        told(&import)[1..],
        [
            format!("app {address}: added as docker:iexec/face:1.0"),
            "app ls: skipped workers run no apps of the type `DEPLOYABLE`, only DOCKER".to_owned(),
            "app dock: skipped its envvars name no image in XWDOCKERIMAGE".to_owned(),
        ]
    );
    let app = &import.apps[0];
    assert_eq!(app.address, Some(address.to_ascii_lowercase()));
    assert_eq!((app.owner.as_deref(), app.price), (Some("anna"), Some(3)));
}

#[test]
fn an_image_is_found_among_the_variables() {
    for (envvars, wanted) in [
        ("XWDOCKERIMAGE=a/b:1", Some("a/b:1")),
        ("A=1,XWDOCKERIMAGE=a/b@sha256:00,B=2", Some("a/b@sha256:00")),
        ("A=1; XWDOCKERIMAGE='alpine'", Some("alpine")),
        ("XWDOCKERIMAGE=", None),
        ("MYXWDOCKERIMAGE=a", None),
        ("", None),
    ] {
        assert_eq!(image(envvars), wanted, "{envvars}");
    }
}

#[test]
fn a_category_that_is_here_stays_as_it_is() {
    let category = |id, memory_bytes| Category {
        id,
        name: "small".to_owned(),
        work_clock_s: 300,
        memory_bytes,
        ..Category::default()
    };
    let theirs = Predecessor {
        categories: vec![
            category(1, None),
            category(2, Some(512)),
            category(3, Some(512)),
            category(3, Some(512)),
        ],
        ..Predecessor::default()
    };
    let ours = Present {
        categories: [(1, category(1, None)), (2, category(2, Some(64)))].into(),
        ..Present::default()
    };
    let import = plan(&theirs, &ours);
    assert_eq!(
        told(&import),
        [
            "category 1 small: known",
            "category 2 small: skipped its name or its limits are others here; the pool keeps its own",
            "category 3 small: added 300 s, 512 bytes of memory",
            "category 3 small: conflict another one there has the same name; rename one of the two",
        ]
    );
    assert_eq!(import.categories, [category(3, Some(512))]);
}

/// A short name from few, so that they meet.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1}", Just(String::new()), Just("admin".to_owned())]
}

prop_compose! {
    fn predecessor()(
        users in prop::collection::vec((name(), any::<bool>(), 0..4_usize), 0..6),
        groups in prop::collection::vec((name(), any::<bool>()), 0..4),
        memberships in prop::collection::btree_set((0..7_usize, 0..5_usize), 0..8),
        apps in prop::collection::vec((name(), any::<bool>(), 0..7_usize), 0..5),
        categories in prop::collection::vec(0..4_i64, 0..5),
    ) -> Predecessor {
        let rights = ["SUPER_USER", "STANDARD_USER", "WORKER_USER", "GETJOB"];
        Predecessor {
            users: users.into_iter().enumerate().map(|(uid, (login, deleted, right))| OldUser {
                deleted,
                ..user(&uid.to_string(), &login, rights[right])
            }).collect(),
            groups: groups.into_iter().enumerate().map(|(uid, (label, deleted))| OldGroup {
                deleted,
                ..group(&uid.to_string(), &label)
            }).collect(),
            memberships: memberships.into_iter().map(|(user, group)| (user.to_string(), group.to_string())).collect(),
            apps: apps.into_iter().enumerate().map(|(uid, (name, docker, owner))| OldApp {
                owner: owner.to_string(),
                ..app(&uid.to_string(), &name, if docker { "DOCKER" } else { "SHARED" }, "XWDOCKERIMAGE=a")
            }).collect(),
            categories: categories.into_iter().map(|id| Category { id, ..Category::default() }).collect(),
            missing: Vec::new(),
        }
    }
}

proptest! {
    #[test]
    fn what_came_over_comes_over_once(theirs in predecessor(), taken in any::<bool>()) {
        let mut ours = Present::default();
        if taken {
            ours.accounts.insert("admin".to_owned(), None);
        }
        let first = plan(&theirs, &ours);
        let rows = theirs.users.len()
            + theirs.groups.len()
            + theirs.memberships.len()
            + theirs.apps.len()
            + theirs.categories.len();
        prop_assert_eq!(first.items.len(), rows, "each row has a fate");
        let then = after(&ours, &first);
        prop_assert_eq!(then.accounts.len(), ours.accounts.len() + first.accounts.len(), "no key twice");
        prop_assert_eq!(then.groups.len(), first.groups.len());
        prop_assert_eq!(then.apps.len(), first.apps.len());
        prop_assert_eq!(then.memberships.len(), first.memberships.len());
        prop_assert_eq!(then.categories.len(), first.categories.len());

        let second = plan(&theirs, &then);
        for (before, now) in first.items.iter().zip(&second.items) {
            match before.fate {
                Fate::Added(_) | Fate::Known => prop_assert_eq!(&now.fate, &Fate::Known),
                _ => prop_assert!(!matches!(now.fate, Fate::Added(_)), "{:?}", now),
            }
        }
    }
}
