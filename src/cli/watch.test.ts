import { EventEmitter } from "node:events";
import { stripVTControlCharacters } from "node:util";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { CasServer, casTarget } from "../server/cas-server.testing.ts";
import { AOED, Workplace } from "./run-aoed.testing.ts";
import { watch } from "./watch.ts";

/** A terminal of which we see what is written. */
class Terminal extends EventEmitter {
  columns = 20;
  rows = 4;
  written = "";
  isRaw = false;

  write(text: string): void {
    this.written += text;
    this.emit("written");
  }

  setRawMode(isRaw: boolean): void {
    this.isRaw = isRaw;
  }

  resume(): void {}
  pause(): void {}

  /** The last picture, without what moves the cursor. */
  get picture(): string[] {
    const last = this.written.split("\x1b[H").at(-1) ?? "";
    return stripVTControlCharacters(last).split("\r\n");
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise((resolve) => this.once("written", resolve));
  }
}

describe("the live view", () => {
  const terminal = new Terminal();
  let looks = 0;
  let isGone = false;

  function start(): Promise<void> {
    return watch({
      look: async () => {
        if (isGone) throw new Error("nobody is there");
        return ++looks;
      },
      text: (now, before) => `look ${now} after ${before}\n${"long ".repeat(9)}\n\n`,
      intervalMs: 1,
      input: terminal,
      output: terminal,
    });
  }

  test("draws in place, follows the size, waits for the server, and leaves no trace", async () => {
    const ended = start();
    expect(terminal.isRaw).toBe(true);
    await terminal.until(() => terminal.picture[0] === "look 3 after 2");
    expect(terminal.picture).toEqual(["look 3 after 2", "long long long long ", "q quits"]);
    expect(terminal.written.startsWith("\x1b[?1049h\x1b[?25l\x1b[H")).toBe(true);

    terminal.columns = 9;
    terminal.rows = 2;
    terminal.emit("resize");
    expect(terminal.picture).toHaveLength(2);
    expect(terminal.picture[1]).toBe("q quits; ");

    terminal.columns = 60;
    terminal.emit("resize");
    expect(terminal.picture[1]).toBe("q quits; lines below the window: 1");
    terminal.rows = 6;
    isGone = true;
    await terminal.until(() => terminal.picture[0] === "NO ANSWER: nobody is there");
    expect(terminal.picture[3]).toMatch(/^look \d+ after/);
    isGone = false;
    await terminal.until(() => terminal.picture[0].startsWith("look "));

    terminal.emit("data", Buffer.from("x"));
    terminal.emit("data", Buffer.from("q"));
    await ended;
    expect(terminal.written.endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
    expect(terminal.isRaw).toBe(false);
    expect(terminal.listenerCount("data") + terminal.listenerCount("resize")).toBe(0);
  });
});

describe("aoed status", () => {
  let server: CasServer;
  const place = new Workplace();
  beforeEach(async () => {
    server = new CasServer();
    await server.start(casTarget(0, "store"));
  });
  afterEach(async () => {
    await server.remove();
  });
  afterAll(() => place.remove());

  test("once: targets, load, interfaces, stores", async () => {
    const { stdout } = await place.aoed("status", "--socket", server.socket);
    for (const heading of ["TARGET ", "REQUESTS", "READ P50", "INTERFACE", "STORE ", "busy "]) {
      expect(stdout).toContain(heading);
    }
    const json = await place.aoed("status", "--json", "--socket", server.socket);
    expect(JSON.parse(json.stdout)).toMatchObject({ initiators: [], targets: [{ commands: [] }] });
  });

  test("--watch without a terminal prints again and again", async () => {
    const words = ["status", "--watch", "--interval", "10ms", "--socket", server.socket];
    const watching = place.start(AOED, ...words);
    let printed = "";
    const ended = new Promise((resolve) => watching.once("close", resolve));
    await new Promise<void>((resolve) => {
      watching.stdout?.on("data", (chunk) => {
        printed += String(chunk);
        if (printed.split("TARGET  SIZE").length > 3) resolve();
      });
    });
    watching.kill("SIGTERM");
    await ended;
    expect(printed).not.toContain("\x1b");
  });

  test("--watch ends when nobody reads any more", async () => {
    const command = `${AOED} status --watch --interval 10ms --socket ${server.socket} | head -2`;
    const { code, stdout, stderr } = await place.run("bash", "-o", "pipefail", "-c", command);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("aoed ");
  });

  test("--watch on a terminal ends with q and gives the screen back", async () => {
    const command = `stty cols 60 rows 20; ${AOED} status --watch --socket ${server.socket}; echo ended $?`;
    const watching = place.start("script", "-qfc", command, "/dev/null");
    let printed = "";
    const ended = new Promise((resolve) => watching.once("close", resolve));
    await new Promise<void>((resolve) => {
      watching.stdout?.on("data", (chunk) => {
        printed += String(chunk);
        if (printed.includes("INTERFACE")) resolve();
      });
    });
    watching.stdin?.write("q");
    await ended;
    expect(printed.indexOf("\x1b[?1049h")).toBeGreaterThanOrEqual(0);
    expect(printed.trimEnd().endsWith("\x1b[?25h\x1b[?1049lended 0")).toBe(true);
  });
});
