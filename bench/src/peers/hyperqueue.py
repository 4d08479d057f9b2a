"""Drives HyperQueue for `pool-bench peers`, in two processes that are told apart by their first argument.

`serve FOLDER WORKERS CPUS` runs the server with its workers and says `ready VERSION`. `submit FOLDER` reads `run works`
from standard input, submits a job of that many tasks, each a process `true`, waits for it and says `done`.
"""

import os
import sys

from hyperqueue import Client, Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
from hyperqueue.ffi import get_version

# The library writes to standard output too; what it says goes to the log, so that ours is for answers alone.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def serve(folder, workers, cpus):
    cluster = LocalCluster(folder)
    for _ in range(workers):
        cluster.start_worker(WorkerConfig(cores=cpus))
    print("ready", get_version(), file=answers)
    # The end of standard input is the end of the server.
    sys.stdin.read()


def submit(folder):
    client = Client(folder)
    print("ready", get_version(), file=answers)
    for line in sys.stdin:
        works = int(line.split()[1])
        job = Job()
        for _ in range(works):
            job.program(["true"], stdout=None, stderr=None)
        submitted = client.submit(job)
        failed = client.connection.wait_for_jobs((submitted.id,), lambda jobs: None)
        if failed:
            sys.exit(f"tasks of job {failed} failed")
        client.forget(submitted)
        print("done", file=answers)


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
else:
    submit(sys.argv[2])
