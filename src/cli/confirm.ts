import { createInterface } from "node:readline/promises";
import { UsageError } from "../errors.ts";

/**
 * Asks on a terminal before something that cannot be taken back. Elsewhere `--yes` is needed.
 * @param warning one sentence that says what will happen
 * @throws UsageError when the answer is not yes
 */
export async function confirm(warning: string, yes: boolean): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(`${warning}; add --yes to go on`);
  }
  const dialogue = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await dialogue.question(`${warning}. Go on? [y/N] `);
    if (/^y(es)?$/i.test(answer.trim())) return;
  } finally {
    dialogue.close();
  }
  throw new UsageError("nothing was changed");
}
