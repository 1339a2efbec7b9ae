// What the peers in JavaScript share: the lines of JSON that the others write, too.
import { createInterface } from "node:readline";

export const databaseUrl = process.env.DATABASE_URL;
export const payload = { text: "x".repeat(288) };
const every = Number(process.argv[2]);
let started = 0;

export const say = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);

// Count the starts of jobs, and report the first and every n-th, by the system's monotonic clock.
export function starts(count = 1) {
  const before = started;
  started += count;
  if (before === 0 || Math.floor(before / every) !== Math.floor(started / every)) {
    say({ started, at: Number(process.hrtime.bigint()) / 1e9 });
  }
}

// Each line on standard input asks for so many jobs; when it is closed, whoever started us is gone or has enough.
export async function serve(fill) {
  say({ port: 0 });
  for await (const line of createInterface({ input: process.stdin })) await fill(Number(line));
  process.exit(0);
}
