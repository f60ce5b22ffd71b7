import { expect } from "vitest";
import { run } from "./harness/command.ts";
import { keepFileSystem } from "./harness/jobs.ts";
import { expectServerTap, type PortKind } from "./harness/network.ts";
import { scenario } from "./harness/scenario.ts";
import { sumOf } from "./harness/sum.ts";

const DISK_BYTES = 96 * 2 ** 20;

for (const port of ["packet", "tap"] as const) {
  for (const backend of ["file", "device"] as const) {
    for (const mtuBytes of [1500, 9000]) fileSystemKeepsItsData(port, backend, mtuBytes);
  }
}

function fileSystemKeepsItsData(port: PortKind, backend: "file" | "device", mtuBytes: number) {
  scenario(`ext4 on a ${backend}, ${port} port, MTU ${mtuBytes}`, {}, async (lab) => {
    const path = await lab.disk(backend, "disk.img", DISK_BYTES);
    const segment = lab.segment({ mtuBytes, port });
    const server = await lab.server([segment], [{ shelf: 1, slot: 0, backend, path }]);
    if (port === "tap" && server.kind === "aoed") expectServerTap(segment);
    const client = await lab.client([segment]);
    await client.run("wait_for_disk e1.0");
    lab.note("discovered");
    expect(await client.run("blockdev --getsize64 /dev/etherd/e1.0")).toBe(String(DISK_BYTES));
    // What the driver puts into one frame says which MTU it found on the way.
    const payload = await client.run("state_of e1.0 payload");
    if (server.kind === "aoed") expect(payload).toBe(mtuBytes === 1500 ? "1024" : "8192");

    const written = await keepFileSystem(client, "e1.0");
    lab.note("64 MiB written and read back");

    const whole = await client.run("drop_caches; sum_of /dev/etherd/e1.0");
    expect(await sumOf(path)).toBe(whole);
    // The server's own end, by tools that know neither AoE nor the client.
    await run(["fsck.ext4", "-fn", path]);
    const dump = `debugfs -R 'cat /data' ${path} 2>/dev/null | sha256sum`;
    expect((await run(["sh", "-c", dump])).slice(0, 64)).toBe(written);
    lab.note("the server's image agrees");
  });
}
