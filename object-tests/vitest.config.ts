import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["object-tests/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    pool: "forks",
    // Two services on two cores are slow enough one after the other.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
