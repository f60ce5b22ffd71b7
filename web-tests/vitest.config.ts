import { defineConfig } from "vitest/config";
import { FailureSummary } from "../scripts/failure-summary.ts";

/** The web page in a real browser. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    pool: "forks",
    reporters: ["default", new FailureSummary()],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 300_000,
  },
});
