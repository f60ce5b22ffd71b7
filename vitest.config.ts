import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "bench/**/*.test.ts", "packaging/**/*.test.ts"],
    // One process a file: the shim's threads and descriptors end with it.
    pool: "forks",
    // What a busy machine may take: a test that hangs is found all the same.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
