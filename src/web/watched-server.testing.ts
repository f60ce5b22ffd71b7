import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameArena } from "../arena/frame-arena.ts";
import { parseConfiguration } from "../config/load.ts";
import type { Initiator } from "../initiator/initiator.ts";
import { createInitiator } from "../initiator/initiator.ts";
import { MemorySegment } from "../ethernet/memory-segment.ts";
import { createLog } from "../log/log.ts";
import { startServer } from "../server/server.ts";
import { openStorage } from "../server/open-storage.ts";
import type { BlockStorage } from "../storage/block-storage.ts";
import { FaultStorage } from "../storage/fault-storage.ts";
import { WebServer } from "./web-server.ts";

const SERVER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const CLIENT_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);

/** A volume e1.0, a memory disk e1.1, and a disk that can be made to fail, e1.2. */
const TARGETS = `
[[target]]
shelf = 1
slot = 0
backend = "cas"
size = "64MiB"
[target.cas]
path = "store"

[[target]]
shelf = 1
slot = 1
backend = "memory"
size = "16MiB"

[[target]]
shelf = 1
slot = 2
backend = "memory"
size = "16MiB"
`;

export interface WatchedOptions {
  readonly allowsControl?: boolean;
  /** 0: one that is free. */
  readonly port?: number;
  /** What follows `[server]`; without it the three targets above. */
  readonly targets?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

/** A whole server in this process with an initiator on its segment and its web endpoint. */
export class WatchedServer {
  readonly folder = mkdtempSync(join(tmpdir(), "aoed-watched-"));
  readonly logged: string[] = [];
  initiator!: Initiator;
  faulty: FaultStorage | undefined;
  #closers: (() => Promise<void>)[] = [];
  #web: WebServer | undefined;

  get port(): number {
    return this.#web?.ports[0] ?? 0;
  }

  async start(options: WatchedOptions = {}): Promise<void> {
    const segment = new MemorySegment({});
    const arena = new FrameArena(512);
    const port = segment.attach("wire0", SERVER_MAC, 9000, arena);
    const log = createLog({
      level: "info",
      humanReadable: false,
      stream: { write: (line) => this.logged.push(line) },
    });
    const text = `[server]\ninterface = "wire0"\ncontrol_socket = "none"\nstate_dir = "state"\n`;
    const configuration = parseConfiguration(
      `${text}${options.targets ?? TARGETS}`,
      join(this.folder, "aoed.toml"),
    );
    const server = await startServer(configuration, log, {
      arena,
      ports: [port],
      openStorage: async (target, memory, logger): Promise<BlockStorage> => {
        const storage = await openStorage(target, memory, logger);
        if (target.slot !== 2) return storage;
        this.faulty = new FaultStorage(storage);
        return this.faulty;
      },
    });
    const { allowsControl = false } = options;
    const address = { host: "127.0.0.1", port: options.port ?? 0 };
    this.#web = await WebServer.listen(server.api, { addresses: [address], allowsControl });
    this.#web.begin();
    const clientArena = new FrameArena(256);
    const clientPort = segment.attach("client0", CLIENT_MAC, 9000, clientArena);
    this.initiator = createInitiator(clientPort, clientArena);
    const { initiator } = this;
    const web = this.#web;
    this.#closers = [
      async () => web.close(),
      async () => initiator.close(),
      async () => server.stop(),
    ];
  }

  /** Ends the server; its folder stays for the next one. */
  async stop(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close();
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A request with exactly these headers: fetch would not send another Host. */
  async ask(
    path: string,
    headers: Record<string, string> = {},
    method = "GET",
    body?: string,
  ): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const sent = request({ port: this.port, host: "127.0.0.1", path, method, headers });
      sent.on("error", reject);
      sent.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      });
      sent.end(body);
    });
  }
}
