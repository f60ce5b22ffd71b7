import { writeFileSync } from "node:fs";
import { CommanderError } from "commander";
import { Cancelled } from "../control/store-api.ts";
import { RuntimeFault, systemErrorCode, UsageError } from "../errors.ts";
import { EXIT_FAULT, EXIT_INTERRUPTED, EXIT_USAGE } from "./exit-codes.ts";
import { buildProgram } from "./program.ts";

/**
 * Runs one command of program.ts.
 *
 * Exit codes: 0; 1 for a fault while running; 2 for usage, configuration or a path that cannot be
 * opened, with one line on standard error and nothing changed on disk.
 */

/** What ps, top and the holder of a lock are shown, instead of the name of the runtime. */
function nameProcess(): void {
  try {
    writeFileSync("/proc/self/comm", "aoed");
  } catch {
    // It is only a name.
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof Cancelled) {
    process.stderr.write("aoed: interrupted; started again, it finds what was done\n");
    return EXIT_INTERRUPTED;
  }
  if (error instanceof CommanderError) {
    // It has written its message already; asking for help or the version is no error.
    const asked = ["commander.help", "commander.helpDisplayed", "commander.version"];
    return asked.includes(error.code) && error.exitCode === 0 ? 0 : EXIT_USAGE;
  }
  if (error instanceof UsageError) {
    process.stderr.write(`aoed: ${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof RuntimeFault) {
    process.stderr.write(`aoed: ${error.message}\n`);
    return EXIT_FAULT;
  }
  // Nobody foresaw it: where it came from helps to mend it.
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`aoed: fault: ${text}\n`);
  return EXIT_FAULT;
}

/** Whoever reads what we print may have seen enough (`aoed status | head`); a server goes on. */
function outliveReaders(): void {
  process.stdout.on("error", (error) => {
    if (systemErrorCode(error) !== "EPIPE") throw error;
  });
}

nameProcess();
outliveReaders();
try {
  await buildProgram().parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
