import { mkdirSync, readdirSync, realpathSync, rmSync, truncateSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { attachmentOf, type Client, clientKind } from "./client.ts";
import { run } from "./command.ts";
import { Guest } from "./guest.ts";
import { HostClient } from "./host-client.ts";
import { recordHostResource, removeHostResources } from "./host-resources.ts";
import { layOutSegment, Namespace, type PortKind } from "./network.ts";
import type { RelayOptions, Segment } from "./network.ts";
import { keepFolder, runFolder } from "./run-folder.ts";
import { createServer, type Server, type Target } from "./server.ts";

let labs = 0;

/** All that one test sets up, and the way to get rid of it. */
export class Lab {
  readonly folder: string;
  readonly #startedAt = Date.now();
  readonly #servers: Server[] = [];
  readonly #clients: Client[] = [];
  readonly #namespaces = new Map<string, Namespace>();
  #segments = 0;
  #failed = false;

  constructor(name: string) {
    labs += 1;
    const slug = name.replaceAll(/[^\w.]+/g, "-").slice(0, 32);
    this.folder = join(realpathSync(runFolder()), `${process.pid}-${labs}-${slug}`);
    mkdirSync(this.folder);
  }

  /** Says what the test is doing, for whoever watches it run. */
  note(text: string): void {
    const seconds = ((Date.now() - this.#startedAt) / 1000).toFixed(1).padStart(5);
    console.log(`  ${seconds} s  ${text}`);
  }

  namespace(role: string): Namespace {
    let namespace = this.#namespaces.get(role);
    if (namespace === undefined) {
      // The process and the count make it this test's alone.
      namespace = new Namespace(this.folder, `aoed-netns-${process.pid}-${labs}-${role}`);
      this.#namespaces.set(role, namespace);
    }
    return namespace;
  }

  segment(options: { mtuBytes: number; port: PortKind; relay?: RelayOptions }): Segment {
    const ends = { server: this.namespace("server"), client: this.namespace("client") };
    const index = this.#segments;
    this.#segments += 1;
    const attachment = attachmentOf(clientKind());
    return layOutSegment(this.folder, ends, { ...options, index, attachment });
  }

  /** A sparse file of zeros. */
  image(name: string, sizeBytes: number): string {
    const path = join(this.folder, name);
    writeFileSync(path, "");
    truncateSync(path, sizeBytes);
    return path;
  }

  /** A block device over such a file. */
  async loopDevice(name: string, sizeBytes: number): Promise<string> {
    const file = this.image(name, sizeBytes);
    const device = (await run(["losetup", "--find", "--show", file])).trim();
    recordHostResource(this.folder, { kind: "loop device", device, file });
    return device;
  }

  /** What a target of that backend serves: a file, a block device, or the folder of a store. */
  disk(backend: Target["backend"], name: string, sizeBytes: number): string | Promise<string> {
    if (backend === "cas") return join(this.folder, "store");
    return backend === "file" ? this.image(name, sizeBytes) : this.loopDevice(name, sizeBytes);
  }

  /** @param workers threads that aoed spreads the targets over */
  async server(
    segments: readonly Segment[],
    targets: readonly Target[],
    workers = 1,
  ): Promise<Server> {
    const server = createServer(this.folder, { segments, targets, workers });
    this.#servers.push(server);
    await server.start();
    return server;
  }

  /** A client with the driver loaded; the disks appear a moment later. */
  async client(segments: readonly Segment[]): Promise<Client> {
    const options = { folder: this.folder, segments };
    const client = clientKind() === "uml" ? await Guest.boot(options) : new HostClient(options);
    this.#clients.push(client);
    await client.loadDriver();
    return client;
  }

  /** What a person wants to know of a test that failed. */
  describeFailure(): void {
    for (const client of this.#clients) console.log(`--- client:\n${client.describe()}`);
    for (const server of this.#servers) console.log(`--- server:\n${server.describe()}`);
    for (const name of readdirSync(this.folder).filter((file) => file.endsWith(".img"))) {
      rmSync(join(this.folder, name));
    }
    keepFolder(this.folder);
    this.#failed = true;
    console.log(`--- logs are kept in ${this.folder}`);
  }

  /** A server that died unnoticed is a failure too, and so is an error that a retry covered. */
  assertSound({ diskErrors }: { diskErrors: boolean }): void {
    for (const server of this.#servers) server.assertRunning();
    const complaints = this.#clients.flatMap((client) => client.complaints());
    if (complaints.length > 0 && !diskErrors) {
      throw new Error(`the client's kernel complains:\n${complaints.join("\n")}`);
    }
  }

  async close(): Promise<void> {
    // The client first: a disk without a server would hold it up.
    await Promise.all(this.#clients.map((client) => client.close()));
    removeHostResources(this.folder);
    // The disks of all tests together would fill a small machine. What was killed may still write.
    if (!this.#failed) rmSync(this.folder, { recursive: true, maxRetries: 20, retryDelay: 100 });
  }
}
