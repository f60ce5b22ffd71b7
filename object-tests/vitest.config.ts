import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    pool: "forks",
    // Two services on two cores are slow enough one after the other.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
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
