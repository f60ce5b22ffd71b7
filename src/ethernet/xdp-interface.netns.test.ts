import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { FrameArena } from "../arena/frame-arena.ts";
import { findInterface } from "./link-monitor.ts";
import { ip, run, uniqueName } from "./namespace.testing.ts";
import { PacketPort } from "./packet-port.ts";
import { waitUntil, type WireTester } from "./wire.testing.ts";
import { XdpPort } from "./xdp-port.ts";
import {
  bothUp,
  canOpenXdpPorts,
  counting,
  ETHER_TYPE,
  expectExchange,
  hasEthtool,
  Lines,
  numbered,
  openPort,
  Place,
  programOn,
} from "./xdp-port.testing.ts";
import {
  openXdpSockets,
  type XdpFeature,
  XdpSockets,
  type XdpSocketsOptions,
} from "./xdp-sockets.ts";

const canUseXdp = await canOpenXdpPorts();

const place = new Place();
afterEach(() => place.clear());

const smallSockets: XdpSocketsOptions = {
  etherType: ETHER_TYPE,
  sendBufferBytes: 65_536,
  receiveChunks: 64,
  transmitChunks: 64,
  without: [],
};

const isAttached = (end: WireTester): boolean => (end.port as XdpPort).isAttached;

describe.runIf(canUseXdp)("the interface under an XDP port", () => {
  test("is as before when the port is closed", async () => {
    const [name] = place.pair();
    for (const [settings, mode] of [
      [{}, "native"],
      [{ without: ["native"] as const }, "generic"],
    ] as const) {
      const port = openPort(name, settings);
      expect(programOn(name)).toBe(mode);
      expect((port as XdpPort).mode).toBe(`${mode}, copy`);
      await port.close();
      expect(programOn(name)).toBeUndefined();
    }
  });

  test("is as before when the process is killed, and can be served again at once", async () => {
    const [name, peerName] = place.pair();
    const program = fileURLToPath(new URL("./xdp-port.process.testing.ts", import.meta.url));
    const peer = place.peerStation(peerName);
    for (let round = 0; round < 3; round++) {
      const server = spawn(process.execPath, [program, name], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [line] = (await once(server.stdout, "data")) as [Buffer];
      expect(line.toString()).toBe("native, copy\n");
      expect(programOn(name)).toBe("native");
      server.kill("SIGKILL");
      await once(server, "close");
      await waitUntil(() => programOn(name) === undefined, "the program is gone");
    }
    await expectExchange(place.station(name), peer);
  });

  test("is as before when the thread with the port is ended", async () => {
    const [name] = place.pair();
    const worker = new Worker(new URL("./xdp-port.process.testing.ts", import.meta.url), {
      argv: [name],
      execArgv: [],
    });
    await waitUntil(() => programOn(name) === "native", "the thread serves");
    expect(await worker.terminate()).toBe(1);
    await waitUntil(() => programOn(name) === undefined, "the program is gone");
    expect(isAttached(place.station(name))).toBe(true);
  });

  test("may be deleted, and another of its name is served", async () => {
    const [name, peerName] = place.pair();
    const [end, peer] = [place.station(name), place.peerStation(peerName)];
    await bothUp(end, peer);
    end.port.onReadable = () => {};
    ip(`link delete ${name}`);
    await waitUntil(() => !end.port.link.up, "the link is down");
    expect(isAttached(end)).toBe(false);
    end.send(numbered(peer, end, 1));
    expect(end.port.statistics.sendFailures).toBe(1);
    ip(`link add ${name} mtu 4000 type veth peer name ${peerName} mtu 4000`);
    ip(`link set ${name} up`);
    ip(`link set ${peerName} up`);
    await waitUntil(() => end.port.link.up && peer.port.link.up, "both ends are up again");
    expect(isAttached(end)).toBe(true);
    expect(programOn(name)).toBe("native");
    end.port.onReadable = undefined;
    await expectExchange(end, peer, 3000);
  });

  test("is left alone when it is renamed or goes to another namespace", async () => {
    const [name, peerName] = place.pair();
    const renamed = uniqueName("vr");
    const [end, peer] = [place.station(name), place.peerStation(peerName)];
    await bothUp(end, peer);
    ip(`link set ${name} down`);
    ip(`link set ${name} name ${renamed}`);
    ip(`link set ${renamed} up`);
    place.interfaces.push(renamed);
    await waitUntil(() => !end.port.link.up, "the name is gone");
    expect(programOn(renamed)).toBeUndefined();
    ip(`link set ${renamed} down`);
    ip(`link set ${renamed} name ${name}`);
    ip(`link set ${name} up`);
    await waitUntil(() => end.port.link.up, "the name is back");
    expect(isAttached(end)).toBe(true);
    await expectExchange(end, peer);

    const other = spawn("unshare", ["-n", "sleep", "600"], { stdio: "ignore" });
    try {
      await once(other, "spawn");
      await waitUntil(() => namespaceOf(other.pid) !== namespaceOf("self"), "it has its own");
      ip(`link set ${name} netns ${other.pid}`);
      await waitUntil(() => !end.port.link.up, "the interface is gone");
      const inside = `-t ${other.pid} -n ip`;
      run("nsenter", `${inside} link set ${name} up`);
      expect(run("nsenter", `${inside} -d link show ${name}`)).not.toMatch(/xdp/);
      run("nsenter", `${inside} link set ${name} netns ${process.pid}`);
      ip(`link set ${name} up`);
      await waitUntil(() => end.port.link.up, "the interface is back");
      expect(isAttached(end)).toBe(true);
      await expectExchange(end, peer);
    } finally {
      other.kill();
    }
  });

  test.each([
    ["native", []],
    ["generic", ["native"]],
  ] satisfies [string, XdpFeature[]][])(
    "carries ping and TCP as before while AoE frames go through it, %s",
    async (mode, without) => {
      const [name, peerName] = place.pair();
      ip(`address add 192.0.2.1/24 dev ${name}`);
      const arena = new FrameArena(256);
      const end = place.station(name, { without, arena });
      expect(programOn(name)).toBe(mode);
      end.port.onReadable = () => {
        const count = end.port.receive(16);
        for (let index = 0; index < count; index++) turnRound(end, arena, index);
        end.port.transmit();
      };
      const octets = 8 * 2 ** 20;
      const received = createHash("sha256");
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.on("data", (chunk) => received.update(chunk));
        socket.on("end", () => socket.end(Buffer.alloc(octets, 8)));
      });
      server.listen(0, "192.0.2.1");
      await once(server, "listening");
      const { port: tcpPort } = server.address() as AddressInfo;
      const program = fileURLToPath(new URL("./xdp-port.peer.testing.ts", import.meta.url));
      const mac = [...end.port.link.mac];
      const task = { mac, own: "192.0.2.2", other: "192.0.2.1", tcpPort, octets };
      const command = ["-n", process.execPath, program, peerName, JSON.stringify(task)];
      const peer = spawn("unshare", command, { stdio: ["ignore", "pipe", "inherit"] });
      try {
        await waitUntil(() => namespaceOf(peer.pid) !== namespaceOf("self"), "it has its own");
        ip(`link set ${peerName} netns ${peer.pid}`);
        const [line] = (await once(peer.stdout, "data")) as [Buffer];
        const seen = JSON.parse(line.toString()) as Record<string, unknown>;
        const digest = (fill: number): string =>
          createHash("sha256").update(Buffer.alloc(octets, fill)).digest("hex");
        expect(seen).toMatchObject({ echoes: 50, digest: digest(8) });
        expect(received.digest("hex")).toBe(digest(7));
        expect(seen["frames"]).toBeGreaterThan(1000);
        expect(end.port.statistics.receivedFrames).toBeGreaterThanOrEqual(Number(seen["frames"]));
      } finally {
        peer.kill();
        server.close();
      }
    },
  );

  test("may change under load as it likes", async () => {
    const [name, peerName] = place.pair();
    const arena = new FrameArena(64);
    const [end, peer] = [place.station(name, { arena }), place.peerStation(peerName)];
    await bothUp(end, peer);
    end.port.onReadable = () => {
      const count = end.port.receive(16);
      for (let index = 0; index < count; index++) {
        end.port.send(end.port.received.frames[index], end.port.received.lengths[index]);
      }
      end.port.transmit();
    };
    const changes = ["down", "up", "mtu 1400", "mtu 2000", "down", "mtu 1500", "up"];
    for (const change of [...changes, ...changes, ...changes]) {
      peer.send(...counting(50).map((n) => numbered(end, peer, n)));
      ip(`link set ${name} ${change}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      peer.receiveAll();
    }
    end.port.onReadable = undefined;
    await expectExchange(end, peer);
    expect(arena.freeCount).toBe(64);
  });
});

describe.runIf(canUseXdp)("where AF_XDP is not to be had, the port", () => {
  test("is a packet port while the interface has somebody else's program", async () => {
    const [name, peerName] = place.pair();
    const first = openPort(name);
    const lines = new Lines();
    const end = place.station(name, {}, lines);
    expect(end.port).toBeInstanceOf(PacketPort);
    expect(lines.last).toMatch(/serving through a raw socket: it has an XDP program of somebody/);
    await first.close();
    await expectExchange(end, place.peerStation(peerName));
  });

  test.runIf(hasEthtool)("is a packet port where VLANs' frames would look untagged", () => {
    const [name] = place.pair();
    const state = findInterface(name);
    if (state === undefined) throw new Error(`${name} is missing`);
    const hasVlans = true;
    const obstacle = expect.stringContaining(`(ethtool -K ${name} rxvlan off)`) as string;
    expect(openXdpSockets(state, hasVlans, smallSockets)).toEqual({ obstacle });
    run("ethtool", `-K ${name} rxvlan off`);
    const opened = openXdpSockets(state, hasVlans, smallSockets);
    expect(opened).toBeInstanceOf(XdpSockets);
    (opened as XdpSockets).close();
    run("ethtool", `-K ${name} rxvlan on`);
    if (!canMakeVlan(name)) return;
    expect(place.station(name).port).toBeInstanceOf(PacketPort);
    ip(`link delete ${name}.5`);
    expect(place.station(name).port).toBeInstanceOf(XdpPort);
  });

  test("goes after the driver on a bond, whose frames come by its cards", () => {
    const [name] = place.pair();
    const state = findInterface(name);
    if (state === undefined) throw new Error(`${name} is missing`);
    const opened = openXdpSockets({ ...state, kind: "bond" }, false, smallSockets);
    expect(opened).toMatchObject({ nativeObstacle: "the driver takes no program (EOPNOTSUPP)" });
    expect(programOn(name)).toBe("generic");
    (opened as XdpSockets).close();
  });

  test("is a packet port without the privilege to load a program", async () => {
    const [name] = place.pair();
    const program = fileURLToPath(new URL("./xdp-port.process.testing.ts", import.meta.url));
    const lost = "-bpf,-sys_admin";
    const server = spawn(
      "setpriv",
      ["--bounding-set", lost, "--inh-caps", lost, process.execPath, program, name],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const [line] = (await once(server.stdout, "data")) as [Buffer];
    server.kill();
    expect(line.toString()).toMatch(/^no permission to load a program: /);
  });

  test("becomes one when the MTU outgrows the kernel, and returns", async () => {
    const [name, peerName] = place.pair();
    const lines = new Lines();
    const end = place.station(name, { without: ["native", "multi-buffer"] }, lines);
    const peer = place.peerStation(peerName);
    await expectExchange(end, peer, 1514);
    for (const side of [name, peerName]) ip(`link set ${side} mtu 9000`);
    await waitUntil(() => !isAttached(end), "the sockets are closed");
    expect(lines.last).toMatch(/its MTU of 9000 needs frames in several parts \(Linux 6\.6\)/);
    expect(programOn(name)).toBeUndefined();
    await waitUntil(() => peer.port.link.mtuBytes === 9000, "the other end has noticed");
    await expectExchange(end, peer, 9014);
    for (const side of [name, peerName]) ip(`link set ${side} mtu 3826`);
    await waitUntil(() => isAttached(end), "the sockets are open again");
    await waitUntil(() => peer.port.link.mtuBytes === 3826, "the other end has noticed");
    await expectExchange(end, peer, 3840);
  });
});

/** Sends a received frame back to where it came from. */
function turnRound({ port }: WireTester, arena: FrameArena, index: number): void {
  const frame = port.received.frames[index];
  const offset = arena.frameOffset(frame);
  arena.bytes.copyWithin(offset, offset + 6, offset + 12);
  arena.bytes.set(port.link.mac, offset + 6);
  port.send(frame, port.received.lengths[index]);
}

function namespaceOf(process: number | string | undefined): string {
  return run("readlink", `/proc/${process}/ns/net`);
}

/** Makes a VLAN interface, unless the kernel has none. */
function canMakeVlan(name: string): boolean {
  try {
    ip(`link add link ${name} name ${name}.5 type vlan id 5`);
    return true;
  } catch {
    return false;
  }
}
