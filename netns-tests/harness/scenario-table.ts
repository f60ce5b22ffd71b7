import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with one line for each scenario: passed, failed or skipped, and its seconds. */
export class ScenarioTable implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const rows = modules.flatMap((module) =>
      Array.from(module.children.allTests(), (test) => {
        const result = test.result();
        const seconds = ((test.diagnostic()?.duration ?? 0) / 1000).toFixed(1);
        const note = result.state === "skipped" ? (result.note ?? "") : "";
        return { name: test.fullName, state: result.state, seconds, note };
      }),
    );
    // A part of the tests was asked for: the rest is not worth a line.
    const shown = rows.filter((row) => row.state !== "skipped" || row.note !== "");
    if (shown.length === 0) {
      console.error("\nno scenario has a name that matches");
      process.exitCode = 1;
      return;
    }
    const width = Math.max(8, ...shown.map((row) => row.name.length));
    console.log(`\n${"SCENARIO".padEnd(width)}  RESULT   SECONDS`);
    for (const { name, state, seconds, note } of shown) {
      const line = `${name.padEnd(width)}  ${state.padEnd(7)}  ${seconds.padStart(7)}  ${note}`;
      console.log(line.trimEnd());
    }
  }
}
