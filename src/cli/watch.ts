import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../errors.ts";

export interface WatchOptions<Look> {
  /** Asks again. @throws when nobody answers */
  readonly look: () => Promise<Look>;
  readonly text: (now: Look, before: Look | undefined) => string;
  readonly intervalMs: number;
}

/** What of a terminal is written to. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
  write(text: string): unknown;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

/** What of a terminal is read from. */
export interface Keys {
  setRawMode(isRaw: boolean): unknown;
  on(event: "data", listener: (typed: Buffer) => void): unknown;
  off(event: "data", listener: (typed: Buffer) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

/** In raw mode the terminal hands Ctrl-C over as a key. */
const QUIT_KEYS = ["q", "Q", "\x03", "\x1b"];
const SIGNALS = ["SIGTERM", "SIGHUP", "SIGINT"] as const;

/**
 * A live view on a terminal: drawn in place, fitted to its size, until q is typed. The terminal is
 * left as it was, also when a signal or an error ends it.
 */
export async function watch<Look>(
  options: WatchOptions<Look> & { readonly input: Keys; readonly output: Screen },
): Promise<void> {
  const { input, output, intervalMs } = options;
  const ending = new AbortController();
  const quit = (): void => ending.abort();
  const typed = (keys: Buffer): void => {
    if (QUIT_KEYS.includes(keys.toString())) quit();
  };
  let shown = "";
  const draw = (): void => void output.write(fitted(shown, output));
  for (const signal of SIGNALS) process.on(signal, quit);
  input.setRawMode(true);
  input.resume();
  input.on("data", typed);
  output.on("resize", draw);
  output.write(ENTER);
  try {
    const glance = glances(options);
    while (!ending.signal.aborted) {
      shown = await glance();
      if (ending.signal.aborted) break;
      draw();
      await delay(intervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  } finally {
    output.write(LEAVE);
    output.off("resize", draw);
    input.off("data", typed);
    input.setRawMode(false);
    input.pause();
    for (const signal of SIGNALS) process.off(signal, quit);
  }
}

/** What lines are written to; it has an error when nobody reads it any more. */
export interface Lines {
  write(text: string): unknown;
  once(event: "error", listener: () => void): unknown;
}

/** The same without a terminal: one text after the other, until nobody reads or a signal comes. */
export async function watchLines<Look>(
  options: WatchOptions<Look> & { readonly output: Lines },
): Promise<void> {
  const { look, text, output, intervalMs } = options;
  const ending = new AbortController();
  output.once("error", () => ending.abort());
  for (let before: Look | undefined; !ending.signal.aborted;) {
    const now = await look();
    output.write(text(now, before));
    before = now;
    await delay(intervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
  }
}

/** What to show, time after time; a server that is gone is waited for. */
function glances<Look>({ look, text }: WatchOptions<Look>): () => Promise<string> {
  let before: Look | undefined;
  let last = "";
  return async () => {
    try {
      const now = await look();
      last = text(now, before);
      before = now;
      return last;
    } catch (error) {
      return `NO ANSWER: ${messageOf(error)}
trying again

${last}`;
    }
  };
}

/**
 * As much of the text as fits, and below it how to leave and how much is missing. Each line is ended so
 * that nothing of the last picture stays.
 */
function fitted(text: string, { columns, rows }: Screen): string {
  const lines = text.trimEnd().split("\n");
  const room = Math.max(1, rows - 1);
  const left = lines.length - room;
  const more = left > 0 ? `; lines below the window: ${left}` : "";
  const all = [...lines.slice(0, room), `q quits${more}`];
  const cut = all.map((line) => `${line.slice(0, columns)}${CLEAR_LINE}`);
  return `${HOME}${cut.join("\r\n")}${CLEAR_BELOW}`;
}
