import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Mac } from "./frames.testing.ts";
import type { Wire } from "./rig.testing.ts";

const LENGTH_BYTES = 4;

/** How long a server process may take to answer before a case fails. */
const REPLY_TIMEOUT_MS = 20_000;
/** After the answer to a fence: what a slow thread of the server still says. */
const GRACE_MS = 3;

/**
 * The wire of a real interface, through netns-tests/conformance-pump.c: any frame can be sent, and
 * every AoE frame on it is seen, for whichever station it is.
 */
export class ProcessWire implements Wire {
  readonly mtuBytes: number;
  readonly replyTimeoutMs: number;
  /** The server's, for whoever changes it. */
  mac: Mac;
  readonly #pump: ChildProcess;
  readonly #inbox: Uint8Array[] = [];
  #partial = new Uint8Array(0);
  #onFrame: (() => void) | undefined;

  private constructor(pump: ChildProcess, mac: Mac, mtuBytes: number, replyTimeoutMs: number) {
    this.replyTimeoutMs = replyTimeoutMs;
    this.#pump = pump;
    this.mac = mac;
    this.mtuBytes = mtuBytes;
    pump.stdout?.on("data", (chunk: Uint8Array) => this.#take(chunk));
    // Frames sent after the end of a case are nobody's loss.
    pump.stdin?.on("error", () => {});
  }

  /** @param program the compiled pump */
  static async open(
    program: string,
    ownInterface: string,
    mac: Mac,
    mtuBytes: number,
    replyTimeoutMs = REPLY_TIMEOUT_MS,
  ): Promise<ProcessWire> {
    const pump = spawn(program, [ownInterface], { stdio: ["pipe", "pipe", "pipe"] });
    const wire = new ProcessWire(pump, mac, mtuBytes, replyTimeoutMs);
    const [said] = await once(pump.stderr, "data");
    if (!String(said).startsWith("ready")) throw new Error(String(said).trim());
    return wire;
  }

  serverMac(): Mac {
    return this.mac;
  }

  send(frame: Uint8Array): void {
    const head = new Uint8Array(LENGTH_BYTES);
    new DataView(head.buffer).setUint32(0, frame.length, true);
    this.#pump.stdin?.write(Buffer.concat([head, frame]));
  }

  async receive(timeoutMs: number): Promise<Uint8Array | null> {
    await this.waitFor(() => this.#inbox.length > 0, timeoutMs);
    return this.#inbox.shift() ?? null;
  }

  /** Waits until a frame has come that matches, and leaves all of them. */
  async waitForFrame(matches: (frame: Uint8Array) => boolean, timeoutMs: number): Promise<boolean> {
    return this.waitFor(() => this.#inbox.some(matches), timeoutMs);
  }

  async waitFor(isReached: () => boolean, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (!isReached()) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#onFrame = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#onFrame = undefined;
    }
    return true;
  }

  /** Everything is on the wire, and a moment has passed. */
  async settle(): Promise<void> {
    while ((this.#pump.stdin?.writableLength ?? 0) > 0) await delay(1);
    await delay(GRACE_MS);
  }

  async close(): Promise<void> {
    if (this.#pump.exitCode !== null) return;
    const ended = once(this.#pump, "exit");
    this.#pump.stdin?.end();
    await ended;
  }

  #take(chunk: Uint8Array): void {
    const octets = Buffer.concat([this.#partial, chunk]);
    let first = 0;
    while (octets.length - first >= LENGTH_BYTES) {
      const end = first + LENGTH_BYTES + octets.readUInt32LE(first);
      if (end > octets.length) break;
      this.#inbox.push(new Uint8Array(octets.subarray(first + LENGTH_BYTES, end)));
      first = end;
    }
    this.#partial = new Uint8Array(octets.subarray(first));
    this.#onFrame?.();
  }
}

/** Whether the frame is a beacon of this target. */
export function isBeaconOf(frame: Uint8Array, shelf: number, slot: number): boolean {
  const isResponse = frame.length >= 32 && (frame[14] & 0x8) !== 0 && frame[19] === 1;
  return isResponse && frame[16] * 256 + frame[17] === shelf && frame[18] === slot;
}
