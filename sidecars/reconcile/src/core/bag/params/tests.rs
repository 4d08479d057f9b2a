//! Parameters as requesters write them, and as strangers might.

use proptest::prelude::*;

use super::*;

const APP: &str = r#"{"type":"DOCKER","envvars":"XWDOCKERIMAGE=alpine:3.20"}"#;

fn problem(app: &str, params: &str) -> String {
    parse(app, params).expect_err(params).to_string()
}

#[test]
fn a_command_line_is_one_work() {
    let job = parse(APP, r#"sh -c 'echo "42"' "a file""#).expect("a job");
    assert_eq!(job.template.app, "docker:alpine:3.20");
    assert_eq!(job.template.command, ["sh", "-c", "echo \"42\"", "a file"]);
    assert!(job.template.env.is_empty() && !job.is_bag());
    assert_eq!((job.rows.count(), job.row(0)), (1, Vec::new()));
}

#[test]
fn what_the_predecessor_read_is_read() {
    let params = r#"{"cmdline":"render in.blend","envvars":"FRAME=3; MODE=fast","dirinuri":"https://example.com/in.tar.gz","lang":"x"}"#;
    let job = parse(APP, params).expect("a job");
    assert_eq!(job.template.command, ["render", "in.blend"]);
    let env = [("FRAME", "3"), ("MODE", "fast")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(job.template.env, env);
    assert_eq!(
        (job.template.files[0].path.as_str(), job.template.files[0].unpack),
        (".", true)
    );
    assert_eq!(
        job.ignored,
        ["lang"],
        "it would lose the pool's stake to refuse it"
    );
}

#[test]
fn the_orders_words_come_behind_the_apps_and_its_variables_before() {
    let app = r#"{"type":"DOCKER","cmdline":"render","envvars":{"XWDOCKERIMAGE":"blender","MODE":"slow"}}"#;
    let job = parse(app, r#"{"cmdline":"--frame 3","envvars":"MODE=fast"}"#).expect("a job");
    assert_eq!(job.template.command, ["render", "--frame", "3"]);
    assert_eq!(job.template.env, [("MODE".to_owned(), "fast".to_owned())]);
    assert_eq!(
        parse("render", "--frame 3").expect("a job").template.app,
        "process"
    );
}

#[test]
fn a_sweep_is_a_bag() {
    let params = r#"{"command":["render","{tile}","{scene}"],"sweep":["scene=dawn,noon","tile=0..999"]}"#;
    let job = parse(APP, params).expect("a job");
    assert!(job.is_bag());
    assert_eq!(job.template.columns, ["scene", "tile"]);
    assert_eq!(job.rows.count(), 2_000);
    assert_eq!(job.rows.values(1_001), ["noon", "1"]);
    let one = parse(APP, r#"{"cmdline":"tile {x}","sweep":"x=5..9:2"}"#).expect("a job");
    assert_eq!((one.rows.count(), one.row(2)), (3, b"9".to_vec()));
}

#[test]
fn what_makes_no_works_says_what_is_wrong() {
    let cases = [
        (
            APP,
            "{\"cmdline\": 5}",
            "the order's parameters: `cmdline`: a text is expected",
        ),
        (APP, "{oops", "this is no JSON object"),
        (APP, "echo 'x", "a quote is not closed"),
        (APP, r#"{"cmdline":"x {y}","sweep":"x=1..3"}"#, "names no column"),
        (
            APP,
            r#"{"cmdline":"x","sweep":["a=1..2000","b=1..2000"]}"#,
            "the sweeps make 2000 × 2000 works; at most 1000000",
        ),
        (
            APP,
            r#"{"cmdline":"x","sweep":["a=1..2","a=1..2"]}"#,
            "two sweeps are named `a`",
        ),
        (
            APP,
            r#"{"cmdline":"x","sweep":["a=9..2"]}"#,
            "never gets from 9 to 2",
        ),
        (APP, r#"{"cmdline":"x","sweep":["a b=1..2"]}"#, "is no name"),
        (APP, r#"{"cmdline":"x","envvars":"A"}"#, "has no `=`"),
        (APP, r#"{"cmdline":"x","dirinuri":"http://a b"}"#, "dirinuri"),
        ("{\"type\":\"DOCKER\"}", "x", "names no image"),
        ("", "", "command"),
    ];
    for (app, params, expected) in cases {
        let problem = problem(app, params);
        assert!(problem.contains(expected), "{params}: {problem}");
    }
    assert!(problem(APP, &"x".repeat(65_537)).contains("at most 65536"));
}

proptest! {
    #[test]
    fn no_text_of_a_stranger_makes_it_panic(app in "\\PC{0,60}", params in "\\PC{0,80}") {
        let _ = parse(&app, &params);
    }

    #[test]
    fn no_object_of_a_stranger_makes_it_panic(
        key in "cmdline|command|envvars|dirinuri|stdinuri|sweep|collect|type",
        value in "\\PC{0,30}|[a-c]=-?[0-9]{1,20}\\.\\.[0-9]{1,20}(:-?[0-9]{1,3})?",
        is_list: bool,
    ) {
        let value = Value::String(value);
        let value = if is_list { Value::Array(vec![value.clone(), value]) } else { value };
        let object: Map<String, Value> = [(key, value), ("cmdline".to_owned(), Value::String("x".into()))].into_iter().collect();
        if let Ok(job) = parse(APP, &Value::Object(object).to_string()) {
            let _ = job.row(job.rows.count() - 1);
        }
    }
}
