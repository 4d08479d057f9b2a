//! What the docker executor costs beside Docker's own create, start, wait and remove.
//!
//! `cargo run --release -p worker-agent --example docker_overhead -- [WORKS] [SLOTS] [ROUNDS]`, as root, on a machine with
//! `dockerd`: it starts an engine of its own. Both ways run the same trivial command in the same image, in turns, so that
//! the ratio says something also where the machine is noisy. Defaults: 100 works, 4 slots, 3 rounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use testkit::docker::{DockerEngine, IMAGE};
use tokio::task::JoinSet;
use wire_protocol::ids::{Attempt as AttemptId, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Bytes;
use worker_agent::executor::{
    Attempt, Bounds, Docker, DockerConfig, Executor, Folder, Gpus, ImageAllow, Kill, Printed,
};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().map_or(default, |number| number.expect("a number"));
    let (works, slots, rounds) = (number(100), number(4), number(3));
    let engine = DockerEngine::start();
    let folder = tempfile::tempdir().expect("a folder");
    let executor = executor(&engine, &folder);
    let socket = engine.socket();
    let docker =
        bollard::Docker::connect_with_unix(&socket.to_string_lossy(), 60, bollard::API_DEFAULT_VERSION)
            .expect("its socket is there");
    for round in 1..=rounds {
        let own = each(works, slots, |work| {
            let docker = docker.clone();
            async move { alone(&docker, work).await }
        })
        .await;
        let executor = each(works, slots, |work| {
            let executor = Arc::clone(&executor);
            async move { by_the_executor(executor, work).await }
        })
        .await;
        println!(
            "round {round}: {works} works on {slots} slots: Docker alone {:.2} s, the executor {:.2} s: {:.3}",
            own.as_secs_f64(),
            executor.as_secs_f64(),
            executor.as_secs_f64() / own.as_secs_f64()
        );
    }
}

/// Runs so many, so many at once; how long that took.
async fn each<F: Future<Output = ()> + Send + 'static>(
    works: u64,
    slots: u64,
    run: impl Fn(u64) -> F,
) -> Duration {
    let began = Instant::now();
    let mut running = JoinSet::new();
    for work in 0..works {
        if running.len() as u64 == slots {
            running.join_next().await.expect("some run").expect("no panic");
        }
        running.spawn(run(work));
    }
    while let Some(done) = running.join_next().await {
        done.expect("no panic");
    }
    began.elapsed()
}

/// With the same isolation, which is what takes Docker its time.
async fn alone(docker: &bollard::Docker, _work: u64) {
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            memory: Some(64 << 20),
            memory_swap: Some(64 << 20),
            pids_limit: Some(32),
            cap_drop: Some(vec!["ALL".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None, body).await.expect("it is made").id;
    docker.start_container(&id, None).await.expect("it starts");
    let options = WaitContainerOptionsBuilder::new()
        .condition("not-running")
        .build();
    let exit = docker.wait_container(&id, Some(options)).next().await;
    assert_eq!(exit.expect("it exits").expect("well").status_code, 0);
    let options = RemoveContainerOptionsBuilder::new().v(true).build();
    docker
        .remove_container(&id, Some(options))
        .await
        .expect("it is removed");
}

async fn by_the_executor(executor: Arc<Docker>, work: u64) {
    let (_killer, kill) = Kill::pair();
    let attempt = Attempt {
        token: LeaseToken {
            work: WorkId(work),
            epoch: Epoch(1),
            attempt: AttemptId(1),
            shard: Shard(0),
        },
        template: Arc::new(WorkTemplate {
            app: format!("docker:{IMAGE}"),
            command: vec!["true".to_owned()],
            ..WorkTemplate::default()
        }),
        row: Box::default(),
        printed: Printed::default(),
    };
    let ended = executor.run(attempt, kill).await;
    assert_eq!(ended.reason, Reason::None, "{ended:?}");
}

fn executor(engine: &DockerEngine, folder: &tempfile::TempDir) -> Arc<Docker> {
    let config = DockerConfig {
        socket: engine.socket(),
        folder: Arc::new(Folder::open(folder.path()).expect("it is ours")),
        worker: "ant".to_owned(),
        allow: ImageAllow::new(["*"]).expect("a list"),
        network: ImageAllow::default(),
        keep: ImageAllow::default(),
        gpus: Gpus::new(Vec::new()),
        pinned: false,
        bounds: Bounds {
            memory: Bytes::from_mib(64),
            cpu_milli: 0,
            processes: 32,
            disk: Bytes::from_mib(32),
            runtime: None,
        },
        pull_within: Duration::from_secs(10),
        files: None,
    };
    Arc::new(Docker::connect(config).expect("its socket is there"))
}
