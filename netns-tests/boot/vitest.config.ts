import { defineConfig } from "vitest/config";
import netns from "../vitest.config.ts";

/** Machines without disks, in an emulator: `make boot-test`. */
export default defineConfig({
  ...netns,
  test: { ...netns.test, include: ["boot/**/*.test.ts"], exclude: [] },
});
