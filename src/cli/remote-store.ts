import type {
  JobControl,
  JobName,
  Jobs,
  NewVolume,
  RollbackReport,
  SectorRange,
  SnapshotStatus,
  StoreApi,
  StoreStatus,
  VolumeStatus,
} from "../control/store-api.ts";
import { RuntimeFault } from "../errors.ts";
import { exchange, exchangeLines } from "./control-client.ts";

/** StoreApi of a running server, over its control socket. */
export class RemoteStore implements StoreApi {
  readonly #socketPath: string;
  readonly #storePath: string | undefined;

  /** @param storePath undefined: the server finds out by what a request names */
  constructor(socketPath: string, storePath: string | undefined) {
    this.#socketPath = socketPath;
    this.#storePath = storePath;
  }

  async status(): Promise<StoreStatus> {
    return this.#ask("GET", ["store"]);
  }

  async volumes(): Promise<VolumeStatus[]> {
    return this.#ask("GET", ["volumes"]);
  }

  async createVolume(request: NewVolume): Promise<VolumeStatus> {
    return this.#ask("POST", ["volumes"], {}, request);
  }

  async resizeVolume(volume: string, sizeBytes: number): Promise<VolumeStatus> {
    return this.#ask("POST", ["volumes", volume, "resize"], {}, { sizeBytes });
  }

  async deleteVolume(volume: string): Promise<void> {
    await this.#ask("DELETE", ["volumes", volume]);
  }

  async snapshots(volume?: string): Promise<SnapshotStatus[]> {
    return this.#ask("GET", ["snapshots"], { volume });
  }

  async snapshot(reference: string): Promise<SnapshotStatus> {
    return this.#ask("GET", ["snapshots", reference]);
  }

  async createSnapshot(volume: string, description: string): Promise<SnapshotStatus> {
    return this.#ask("POST", ["snapshots"], {}, { volume, description });
  }

  async deleteSnapshot(reference: string): Promise<SnapshotStatus> {
    return this.#ask("DELETE", ["snapshots", reference]);
  }

  async rollback(reference: string, volume: string): Promise<RollbackReport> {
    return this.#ask("POST", ["snapshots", reference, "rollback"], {}, { volume });
  }

  async clone(reference: string, volume: string): Promise<VolumeStatus> {
    return this.#ask("POST", ["snapshots", reference, "clone"], {}, { volume });
  }

  async diff(from: string, to?: string): Promise<SectorRange[]> {
    return this.#ask("GET", ["snapshots", from, "diff"], { to });
  }

  async run<Name extends JobName>(
    name: Name,
    request: Jobs[Name]["request"],
    control: JobControl,
  ): Promise<Jobs[Name]["report"]> {
    const path = this.#path(["jobs", name], {});
    const sent = { method: "POST", path, body: request } as const;
    for await (const line of exchangeLines(this.#socketPath, sent, control.signal)) {
      if ("progress" in line) control.onProgress(line.progress);
      else if ("error" in line) throw new RuntimeFault(line.error);
      else return line.result as Jobs[Name]["report"];
    }
    throw new RuntimeFault("the server ended before the work was done");
  }

  async #ask<Answer>(
    method: "GET" | "POST" | "DELETE",
    words: readonly string[],
    query: Readonly<Record<string, string | undefined>> = {},
    body?: unknown,
  ): Promise<Answer> {
    const path = this.#path(words, query);
    return (await exchange(this.#socketPath, { method, path, body })) as Answer;
  }

  #path(words: readonly string[], query: Readonly<Record<string, string | undefined>>): string {
    const parameters = new URLSearchParams();
    for (const [key, value] of Object.entries({ store: this.#storePath, ...query })) {
      if (value !== undefined) parameters.set(key, value);
    }
    const search = parameters.size === 0 ? "" : `?${parameters.toString()}`;
    return `/v1/${words.map(encodeURIComponent).join("/")}${search}`;
  }
}
