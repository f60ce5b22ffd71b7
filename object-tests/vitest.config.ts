import { defineConfig } from "vitest/config";
import { FailureSummary } from "../scripts/failure-summary.ts";

export default defineConfig({
  test: {
    pool: "forks",
    reporters: ["default", new FailureSummary()],
    // Two services on two cores are slow enough one after the other.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    projects: [
      {
        extends: true,
        test: {
          name: "services",
          include: ["object-tests/*.test.ts"],
          exclude: ["object-tests/containers.test.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "containers",
          include: ["object-tests/containers.test.ts"],
          // Images are fetched at the first run.
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
