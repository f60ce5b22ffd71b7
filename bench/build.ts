import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { giveToCaller } from "./caller.ts";
import { run } from "./child-process.ts";

const FLAGS = ["-std=c17", "-O2", "-Wall", "-Wextra", "-Werror", "-Wshadow"];
const SHARED = ["packet-socket.c"];
const SOURCES = {
  generator: ["generator.c", "closed-loop.c", "pattern.c", "histogram.c", "reply-ring.c"],
  "null-target": ["null-target.c"],
  flood: ["flood.c"],
};

export interface Programs {
  readonly generator: string;
  readonly nullTarget: string;
  /** What a test of fairness sends; no load of the benchmark. */
  readonly flood: string;
}

/** Compiles the programs of the bench with the machine's C compiler; a second is enough. */
export async function buildPrograms(
  sourceDirectory: string,
  target = join(sourceDirectory, "build"),
): Promise<Programs> {
  mkdirSync(target, { recursive: true });
  for (const [name, sources] of Object.entries(SOURCES)) {
    const files = [...sources, ...SHARED].map((file) => join(sourceDirectory, file));
    await run(process.env["CC"] ?? "cc", ...FLAGS, "-o", join(target, name), ...files);
  }
  const programs = {
    generator: join(target, "generator"),
    nullTarget: join(target, "null-target"),
    flood: join(target, "flood"),
  };
  giveToCaller(target, ...Object.values(programs));
  return programs;
}
