// Graphile Worker with what its own guide to performance says: a local queue, completions in batches, 24 jobs at once.
import { makeWorkerUtils, run } from "graphile-worker";
import { databaseUrl, payload, serve, starts } from "./reporting.mjs";

const utils = await makeWorkerUtils({ connectionString: databaseUrl });
await utils.migrate();
await run({
  connectionString: databaseUrl,
  noHandleSignals: true,
  preset: {
    worker: {
      concurrentJobs: 24,
      maxPoolSize: 25,
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    },
  },
  taskList: { noop: async () => starts() },
});
await serve((count) => utils.addJobs(Array.from({ length: count }, () => ({ identifier: "noop", payload }))));
