import { resolve } from "node:path";
import { execute } from "./command.ts";
import type { Server } from "./server.ts";

export const AOED = resolve(import.meta.dirname, "../../bin/aoed");

/** Runs a command of aoed that must succeed, and asks for JSON. @returns its answer */
export async function runAoed<Answer>(...args: string[]): Promise<Answer> {
  const { status, answer } = await executeAoed(...args);
  if (status !== 0) throw new Error(`aoed ${args.join(" ")} ended with ${status}`);
  return answer as Answer;
}

/** The same for a command that may fail after it has answered, as `aoed verify` does. */
export async function executeAoed(...args: string[]): Promise<{ status: number; answer: unknown }> {
  const { status, stdout, stderr } = await execute([AOED, ...args, "--json"]);
  if (stdout === "") throw new Error(`aoed ${args.join(" ")} ended with ${status}: ${stderr}`);
  return { status, answer: JSON.parse(stdout) as unknown };
}

/** A command that is for a running server. */
export async function askAoed<Answer>(server: Server, ...args: string[]): Promise<Answer> {
  return runAoed(...args, "--socket", server.controlSocket);
}
