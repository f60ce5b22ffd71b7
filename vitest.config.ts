import { defineConfig } from "vitest/config";
import { FailureSummary } from "./scripts/failure-summary.ts";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "bench/**/*.test.ts", "packaging/**/*.test.ts"],
    // Under CI alone: loading fast-check takes time in every file.
    setupFiles: process.env["CI"] === undefined ? [] : ["scripts/fixed-random.ts"],
    // One process a file: the shim's threads and descriptors end with it.
    pool: "forks",
    reporters: ["default", new FailureSummary()],
    // What a busy machine may take: a test that hangs is found all the same.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
