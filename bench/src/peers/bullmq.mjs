// Drives BullMQ for `pool-bench peers`: reads `run works payload_bytes result_bytes consumers` from standard input and
// writes `done` when each job has completed. Started in the folder that holds node_modules.
//
// Jobs are added in bulk, as BullMQ advises; each of the consumers is a Worker with a connection of its own that works
// on several jobs at once. All share this process, so its processor time is that of submitter and consumers.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const require = createRequire(join(process.cwd(), 'index.js'));
const { Queue, Worker } = require('bullmq');
const { version } = require('bullmq/package.json');

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const BULK = 1000;       // jobs that one call adds
const BACKLOG = 20000;   // jobs that may wait; the same as for the other peers
const CONCURRENCY = 64;  // jobs that a Worker has under way

const queue = new Queue('works', { connection });
await queue.waitUntilReady();

async function run(works, payloadBytes, resultBytes, consumers) {
  const result = 'x'.repeat(resultBytes);
  const filler = 'x'.repeat(Math.max(0, payloadBytes - 10));
  const seen = new Uint8Array(works);
  let done = 0;
  let taken = () => {};
  await new Promise(async (resolve, reject) => {
    const workers = Array.from({ length: consumers }, () => new Worker('works', async () => result, {
      connection, concurrency: CONCURRENCY,
    }));
    const finish = (error) => {
      // Closed without waiting for the blocking calls: nothing is left to be taken.
      Promise.all(workers.map((worker) => worker.close(true))).then(() => (error ? reject(error) : resolve()));
    };
    for (const worker of workers) {
      worker.on('error', finish);
      worker.on('failed', (_, error) => finish(error));
      // The server has answered the Worker that the job is finished and its result stored.
      worker.on('completed', (job) => {
        const work = Number(job.data.slice(0, 10));
        if (seen[work]) finish(new Error(`work ${work} was done twice`));
        seen[work] = 1;
        done += 1;
        if (done % BULK === 0) taken();
        if (done === works) finish();
      });
    }
    for (let from = 0; from < works; from += BULK) {
      while (from - done >= BACKLOG) await new Promise((wake) => { taken = wake; });
      const jobs = Array.from({ length: Math.min(BULK, works - from) }, (_, index) => ({
        name: 'w',
        data: String(from + index).padStart(10, '0') + filler,
        opts: { removeOnComplete: true },
      }));
      await queue.addBulk(jobs);
    }
  });
}

console.log(`ready ${version}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [, ...numbers] = line.split(' ');
  await run(...numbers.map(Number));
  console.log('done');
}
