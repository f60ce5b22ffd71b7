import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { beforeEach, expect, test } from "vitest";
import { type Served, type ServerPlace, withServerPlace } from "./serve-process.testing.ts";

/** A user that every machine has and that owns nothing. */
const USER = "nobody";
const USER_ID = Number(execFileSync("id", ["-u", USER], { encoding: "utf8" }));
const GROUP_ID = Number(execFileSync("id", ["-g", USER], { encoding: "utf8" }));

let server: ServerPlace;
let place: ServerPlace["place"];

withServerPlace((given) => {
  server = given;
  ({ place } = given);
});
beforeEach(() => {
  chmodSync(place.folder, 0o755);
});

const TARGETS = `
[[target]]
shelf = 1
slot = 0
backend = "file"
path = "disks/disk.img"
size = "1MiB"
[[target]]
shelf = 1
slot = 1
backend = "cas"
[target.cas]
path = "disks/store"
`;

function configure(keys: string, targets = TARGETS): void {
  writeFileSync(place.path("aoed.toml"), `[server]\ninterface = "server0"\n${keys}\n${targets}`);
}

/** Undefined: the thread has ended since it was listed. */
function statusOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** A field of the status of every thread, each different value once. */
function everyThread(served: Served, field: string): string[] {
  const folder = `/proc/${served.process.pid}/task`;
  const values = readdirSync(folder).flatMap((thread) => {
    const text = statusOf(`${folder}/${thread}/status`);
    if (text === undefined) return [];
    return [new RegExp(`^${field}:[ \\t]*(.*?)\\s*$`, "m").exec(text)?.[1] ?? "absent"];
  });
  return [...new Set(values)];
}

const four = (id: number) => Array.from({ length: 4 }, () => id).join("\t");

function expectNoPrivileges(served: Served): void {
  expect(everyThread(served, "Uid")).toEqual([four(USER_ID)]);
  expect(everyThread(served, "Gid")).toEqual([four(GROUP_ID)]);
  expect(everyThread(served, "Groups")).toEqual([String(GROUP_ID)]);
  expect(everyThread(served, "NoNewPrivs")).toEqual(["1"]);
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
    expect({ set, values: everyThread(served, set) }).toEqual({ set, values: ["0".repeat(16)] });
  }
}

test.each([1, 2])(
  "with workers = %i every thread is the user's after the start, without privileges and ways to get them",
  async (workers) => {
    configure(`user = "${USER}"\nstate_dir = "state"\nworkers = ${workers}`);
    mkdirSync(place.path("disks"));
    chownSync(place.path("disks"), USER_ID, GROUP_ID);
    const served = await server.serve("--config", "aoed.toml");
    // Requests of all kinds, so that the threads that serve them have been started.
    const pings = ["ping", "1.0", "-i", "client0", "--identify", "--timeout", "30s"];
    expect(await server.did(...pings)).toMatch(/4 of 4 answered/);
    await server.did("snapshot", "create", "e1.1", "--socket", "state/control.sock");

    expectNoPrivileges(served);
    expect(everyThread(served, "Name").length, "several kinds of threads").toBeGreaterThan(2);
    expect(statSync(place.path("disks/disk.img")).uid).toBe(USER_ID);

    // An interface that comes back is served without any privilege.
    const { namespace } = server;
    namespace.run("ip", "link", "delete", "server0");
    namespace.run("ip", "link", "add", "server0", "type", "veth", "peer", "name", "client0");
    for (const name of ["server0", "client0"]) namespace.run("ip", "link", "set", name, "up");
    const ping = ["ping", "1.0", "-i", "client0", "-c", "1", "--timeout", "300ms"];
    let answered = false;
    for (let tries = 0; tries < 200 && !answered; tries++) {
      answered = (await server.aoed(...ping)).code === 0;
    }
    expect(answered).toBe(true);
    expect(await server.stop(served, "SIGTERM")).toBe(0);
    expect(existsSync(place.path("state/control.sock"))).toBe(false);
  },
);

/** Why no TAP interface can be made here; undefined: it can. */
function tapObstacle(): string | undefined {
  try {
    closeSync(openSync("/dev/net/tun", "r+"));
    return undefined;
  } catch (error) {
    return `/dev/net/tun cannot be opened: ${(error as NodeJS.ErrnoException).code}`;
  }
}

test.for([
  { port: "tap", name: "bridge0", said: "serving through a TAP interface" },
  { port: "xdp", name: "server0", said: "serving through AF_XDP sockets" },
])(
  "port = $port: opened with privileges, and served without",
  { timeout: 60_000 },
  async ({ port, name, said }, context) => {
    const { namespace } = server;
    const obstacle = port === "tap" ? tapObstacle() : undefined;
    if (obstacle !== undefined) context.skip(obstacle);
    if (port === "tap") {
      namespace.run("ip", "link", "add", "bridge0", "type", "bridge");
      namespace.run("ip", "link", "set", "server0", "master", "bridge0");
      namespace.run("ip", "link", "set", "bridge0", "up");
    }
    try {
      const disk = '[[target]]\nshelf = 1\nslot = 0\nbackend = "memory"\nsize = "1MiB"\n';
      writeFileSync(
        place.path("aoed.toml"),
        `[server]\ninterface = "${name}"\nport = "${port}"\nuser = "${USER}"\nstate_dir = "state"\n${disk}`,
      );
      const served = await server.serve("--config", "aoed.toml");
      const reason = /"reason":"([^"]*)","msg":"AF_XDP is not to be had/.exec(served.stderr)?.[1];
      if (reason !== undefined) context.skip(reason);
      expect(served.stderr).toContain(said);
      // A new bridge may keep frames to itself for a moment.
      await expect
        .poll(
          async () =>
            server.aoed("ping", "1.0", "-i", "client0", "-c", "1", "--identify", "--timeout", "1s"),
          { timeout: 30_000 },
        )
        .toMatchObject({ code: 0 });
      expectNoPrivileges(served);
      expect(await server.stop(served, "SIGTERM")).toBe(0);
    } finally {
      if (port === "tap") namespace.run("ip", "link", "delete", "bridge0");
    }
  },
);

test("what the user may not use is refused with the way out", async () => {
  mkdirSync(place.path("state"), { mode: 0o700 });
  mkdirSync(place.path("disks"));
  configure(`user = "${USER}"\nstate_dir = "state"`);
  const refused = await server.aoed("serve", "--config", "aoed.toml");
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(
    /state: nobody, .*\(EACCES\); give it .*: chown -R nobody: .*state\n$/,
  );

  chownSync(place.path("state"), USER_ID, GROUP_ID);
  const file = await server.aoed("serve", "--config", "aoed.toml");
  expect(file.code).toBe(2);
  expect(file.stderr).toMatch(
    /disk\.img: user nobody may not use the folder .*disks: .*, or: chown nobody: .*disks\n$/,
  );
  expect(readdirSync(place.path("disks"))).toEqual([]);
  expect(readdirSync(place.path("state"))).toEqual([]);

  configure('user = "no-such-user"\nstate_dir = "state"');
  const nobody = await server.aoed("serve", "--config", "aoed.toml");
  expect(nobody).toMatchObject({ code: 2, stdout: "" });
  expect(nobody.stderr).toMatch(/^aoed: there is no user "no-such-user"; make it with: useradd /);
});

test("folders that are made for the state are the user's, and go when the start is refused", async () => {
  mkdirSync(place.path("disks"));
  chownSync(place.path("disks"), USER_ID, GROUP_ID);
  configure(`user = "${USER}"\nstate_dir = "var/lib/state"`);
  const served = await server.serve("--config", "aoed.toml");
  for (const folder of ["var", "var/lib", "var/lib/state"]) {
    const { uid, gid, mode } = statSync(place.path(folder));
    expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: USER_ID, gid: GROUP_ID, mode: 0o700 });
  }
  expect(await server.stop(served, "SIGTERM")).toBe(0);

  configure(`user = "${USER}"\nstate_dir = "other/state"\ncontrol_socket_group = "no-such-group"`);
  const refused = await server.aoed("serve", "--config", "aoed.toml");
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.stderr).toMatch(/there is no group "no-such-group"/);
  expect(existsSync(place.path("other"))).toBe(false);
});

test("the control socket belongs to whom the configuration says", async () => {
  configure(
    `state_dir = "state"\ncontrol_socket = "run/control.sock"\ncontrol_socket_owner = "${USER}"
control_socket_group = "${GROUP_ID}"\ncontrol_socket_mode = "0660"`,
  );
  mkdirSync(place.path("disks"));
  const served = await server.serve("--config", "aoed.toml");
  const { uid, gid, mode } = statSync(place.path("run/control.sock"));
  expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: USER_ID, gid: GROUP_ID, mode: 0o660 });
  expect(statSync(place.path("run")).mode & 0o777).toBe(0o711);
  expect(await server.stop(served, "SIGTERM")).toBe(0);

  configure('state_dir = "state"\ncontrol_socket_group = "no-such-group"');
  const refused = await server.aoed("serve", "--config", "aoed.toml");
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.stderr).toMatch(/there is no group "no-such-group"; make it with: groupadd/);
});
