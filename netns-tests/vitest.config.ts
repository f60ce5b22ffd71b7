import { defineConfig } from "vitest/config";
import { FailureSummary } from "../scripts/failure-summary.ts";
import { ScenarioTable } from "./harness/scenario-table.ts";

/** The tests with the real Linux driver: one after the other, since they share two slow cores. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    // They need an emulator, and have a target of their own: make boot-test.
    exclude: ["boot/**"],
    globalSetup: ["harness/run-folder.ts"],
    pool: "forks",
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: 900_000,
    hookTimeout: 300_000,
    teardownTimeout: 120_000,
    disableConsoleIntercept: true,
    reporters: ["verbose", new ScenarioTable(), new FailureSummary()],
  },
});
