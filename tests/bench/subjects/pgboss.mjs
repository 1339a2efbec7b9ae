// pg-boss: woken by NOTIFY, 200 jobs at a time, at once again while batches come back full.
import { PgBoss } from "pg-boss";
import { databaseUrl, payload, serve, starts } from "./reporting.mjs";

const boss = new PgBoss({ connectionString: databaseUrl, useListenNotify: true });
boss.on("error", (error) => process.stderr.write(`${error.stack}\n`));
await boss.start();
await boss.createQueue("noop", { notify: true });
await boss.work("noop", { batchSize: 200, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }, async (jobs) =>
  starts(jobs.length),
);
await serve((count) => boss.insert("noop", Array.from({ length: count }, () => ({ data: payload }))));
