import { execFile } from "node:child_process";

export interface CommandResult {
  /** Exit code; -1 when a signal ended it, the time limit included. */
  status: number;
  stdout: string;
  stderr: string;
}

const DEFAULT_TIMEOUT_MS = 240_000;

/** Runs a program of the host to its end. Never rejects. */
export function execute(
  command: readonly string[],
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): Promise<CommandResult> {
  const [program = "", ...args] = command;
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, maxBuffer: 1 << 26, killSignal: "SIGKILL" } as const;
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      const status = error === null ? 0 : (child.exitCode ?? -1);
      resolve({ status, stdout, stderr: stderr === "" ? (error?.message ?? "") : stderr });
    });
    child.stdin?.end();
  });
}

/** Runs a program of the host that must succeed. @returns its standard output */
export async function run(command: readonly string[], timeoutMs?: number): Promise<string> {
  const { status, stdout, stderr } = await execute(command, timeoutMs);
  if (status !== 0) {
    throw new Error(`'${command.join(" ")}' ended with ${status}:\n${stdout}${stderr}`);
  }
  return stdout;
}

export function delay(timeMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, timeMs);
  });
}

/** Asks again and again until `isTrue`; rejects with `what` when the time is over. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  { timeoutMs = 120_000, everyMs = 20 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await delay(everyMs);
  }
}
