import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "bench/**/*.test.ts", "packaging/**/*.test.ts"],
    // One process a file: the shim's threads and descriptors end with it.
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
