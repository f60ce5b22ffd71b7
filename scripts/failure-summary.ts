import type { Reporter, TestModule, Vitest } from "vitest/node";

/** What somebody who sees only the end of a log shall still see. */
const MOST_CHARACTERS = 2000;
const MOST_OF_ONE = 600;

interface Failure {
  readonly message: string;
  readonly stack?: string | undefined;
  readonly diff?: string | undefined;
}

/** Ends a run that failed with the names of the tests that did, and what each of them says. */
export class FailureSummary implements Reporter {
  #root = "";

  onInit(vitest: Vitest): void {
    this.#root = vitest.config.root;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly Failure[]): void {
    const failures = [
      ...modules.flatMap((module) => this.#failuresOf(module)),
      ...unhandled.map((error) => this.#described("outside of the tests", [error])),
    ];
    if (failures.length === 0) return;
    let text = "";
    let shown = 0;
    for (const failure of failures) {
      if (shown > 0 && text.length + failure.length > MOST_CHARACTERS) break;
      text += `${failure}\n`;
      shown++;
    }
    const rest = shown < failures.length ? `and ${failures.length - shown} more\n` : "";
    console.error(`\nFAILED: ${failures.length}\n${text}${rest}`);
  }

  #failuresOf(module: TestModule): string[] {
    const file = module.relativeModuleId;
    const failures = module.errors().map((error) => this.#described(file, [error]));
    for (const suite of module.children.allSuites()) {
      const errors = suite.errors();
      if (errors.length > 0) failures.push(this.#described(`${file} > ${suite.fullName}`, errors));
    }
    for (const test of module.children.allTests("failed")) {
      const { errors = [] } = test.result();
      failures.push(this.#described(`${file} > ${test.fullName}`, errors));
    }
    return failures;
  }

  #described(name: string, errors: readonly Failure[]): string {
    const texts = errors.map(({ message, stack = "", diff = "" }) => {
      const place = stack.split("\n").find((line) => line.includes(this.#root)) ?? "";
      const where = place === "" ? "" : `\n    ${place.trim().replaceAll(this.#root, ".")}`;
      const difference = diff === "" ? "" : `\n${diff.slice(0, MOST_OF_ONE)}`;
      const lines = `${message.slice(0, MOST_OF_ONE)}${where}${difference}`;
      return lines.replaceAll(/\n/g, "\n    ");
    });
    return `✗ ${name}\n    ${texts.join("\n    ")}`;
  }
}
