import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { RemoteStatus } from "../src/remote-status.ts";
import { until } from "./harness/command.ts";
import { Control } from "./harness/control.ts";
import { keepFileSystem } from "./harness/jobs.ts";
import type { Lab } from "./harness/lab.ts";
import { type ObjectServiceKind, startObjectService } from "./harness/object-service.ts";
import { scenario } from "./harness/scenario.ts";
import type { Server } from "./harness/server.ts";

const DISK_BYTES = 128 * 2 ** 20;
const beyond = { vblade: "it has files and devices only" };

scenario(
  "ext4 on a volume in S3, and the machine moves under a mounted disk",
  { beyond },
  async (lab) => {
    const { rig, client } = await start(lab, "s3", "remote");
    const written = await keepFileSystem(client, "e1.0");
    lab.note("64 MiB written and read back");
    const sum = await client.run(`
    mount /dev/etherd/e1.0 disk
    dd if=/dev/urandom of=disk/last bs=1M count=8 conv=fsync status=none
    sum_of disk/last`);

    await rig.loseTheMachine();
    lab.note("another machine has attached it");
    const after = await client.run(`
    umount disk
    drop_caches
    mount /dev/etherd/e1.0 disk
    sum_of disk/data
    sum_of disk/last
    umount disk
    fsck.ext4 -fn /dev/etherd/e1.0 >fsck.log 2>&1 || { cat fsck.log; exit 1; }`);
    expect(after.split("\n")).toEqual([written, sum]);
    await rig.assertNoSecret();
  },
);

scenario(
  "ext4 on a volume in Azure, attached elsewhere when all is sent",
  { beyond },
  async (lab) => {
    const { rig, client } = await start(lab, "azure", "durable");
    const written = await keepFileSystem(client, "e1.0");
    lab.note("64 MiB written and read back");
    const whole = await client.run("drop_caches; sum_of /dev/etherd/e1.0");
    await until(
      "everything is in the object store",
      async () => (await rig.remote()).dirtyBytes === 0,
      {
        timeoutMs: 300_000,
      },
    );

    await rig.loseTheMachine();
    lab.note("another machine has attached it");
    expect(await client.run("drop_caches; sum_of /dev/etherd/e1.0")).toBe(whole);
    const file = await client.run("mount /dev/etherd/e1.0 disk; sum_of disk/data; umount disk");
    expect(file).toBe(written);
    const { puts, bytesRead } = await rig.remote();
    expect(puts).toBeGreaterThan(0);
    expect(bytesRead).toBeGreaterThan(60 * 2 ** 20);
    await rig.assertNoSecret();
  },
);

async function start(lab: Lab, kind: ObjectServiceKind, durability: "durable" | "remote") {
  const service = startObjectService(lab, kind);
  lab.note(`${kind} is there`);
  const path = join(lab.folder, "front");
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  const keys = [...service.keys, 'lease = "10s"', 'upload_interval = "500ms"'];
  const target = {
    shelf: 1,
    slot: 0,
    backend: "cas",
    path,
    sizeBytes: DISK_BYTES,
    durability,
    store: { keys, table: service.table },
  } as const;
  const server = await lab.server([segment], [target]);
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0");
  lab.note("discovered");
  return { rig: new ObjectRig(server, path, service.secret), client };
}

class ObjectRig {
  readonly #server: Server;
  readonly #path: string;
  readonly #secret: string;
  #logs = "";

  constructor(server: Server, path: string, secret: string) {
    this.#server = server;
    this.#path = path;
    this.#secret = secret;
  }

  /** Kills the server, takes its disk away, and starts on an empty folder: another machine. */
  async loseTheMachine(): Promise<void> {
    this.#logs += this.#server.log;
    await this.#server.kill();
    rmSync(this.#path, { recursive: true });
    await this.#server.start();
  }

  async remote(): Promise<RemoteStatus> {
    const control = new Control(this.#server.controlSocket);
    const { remote } = await control.ask<{ remote: RemoteStatus | null }>("GET", "/v1/store");
    if (remote === null) throw new Error("the store says that it is not in an object store");
    return remote;
  }

  async assertNoSecret(): Promise<void> {
    const control = new Control(this.#server.controlSocket);
    const status = JSON.stringify(await control.ask("GET", "/v1/status"));
    const store = JSON.stringify(await control.ask("GET", "/v1/store"));
    for (const text of [this.#logs, this.#server.log, status, store]) {
      expect(text.length).toBeGreaterThan(0);
      expect(text).not.toContain(this.#secret);
    }
  }
}
