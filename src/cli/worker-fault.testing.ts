import type { Worker } from "node:worker_threads";

/** See workers.netns.test.ts: a message that no worker expects is a fault in it. */
const threads: Worker[] = [];
process.on("worker", (thread) => void threads.push(thread));
process.on("SIGUSR2", () => threads.at(-1)?.postMessage(null));
