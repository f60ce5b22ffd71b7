import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.ts";

/**
 * The C shim as TypeScript sees it. Calls on the data path return a count or a negative errno and
 * never throw; they throw only on misuse, which is a bug of ours. What each part does is said in
 * its C file.
 */
export interface Shim {
  /** shim/memory.c */
  mapMemory(lengthBytes: number): ArrayBuffer;

  /** shim/hash.c: SHA-256 of pieces of a buffer, 32 bytes each; three at a time side by side. */
  readonly hashPieces: (
    source: Uint8Array,
    offsets: Uint32Array,
    lengths: Uint32Array,
    count: number,
    target: Uint8Array,
  ) => void;
  /** The same without special instructions, for the tests. */
  readonly hashPiecesPortable: Shim["hashPieces"];
  hashIsAccelerated(): boolean;

  /**
   * shim/disk-queue.c: io_uring and worker threads for one disk; the table's layout is in
   * shim/disk.h. With `useRing` 0, or where io_uring is forbidden, threads do everything.
   */
  diskOpen(
    table: ArrayBuffer,
    memory: ArrayBuffer,
    completions: Int32Array,
    threadLimit: number,
    useRing: number,
    onCompletion: (count: number) => void,
  ): DiskHandle;
  /** Runs what a chain can do without waiting for the disk; returns how many requests are done. */
  diskRunNow(disk: DiskHandle, head: number): number;
  diskSubmit(disk: DiskHandle, heads: Int32Array, count: number): number;
  diskUsesRing(disk: DiskHandle): number;
  diskClose(disk: DiskHandle): void;

  /** shim/poll.c: watches a descriptor on this thread's event loop. */
  pollOpen(descriptor: number, callback: (status: number, events: number) => void): PollHandle;
  /** Waits for POLL_READABLE | POLL_WRITABLE; 0 stops. */
  pollSet(poll: PollHandle, events: number): number;
  pollClose(poll: PollHandle): void;
  /** For descriptors that the shim or `callLibc` has opened. */
  closeDescriptor(descriptor: number): number;

  /** shim/packet.c: AF_PACKET sockets. */
  packetOpen(receiveBufferBytes: number, sendBufferBytes: number): number;
  packetTimestamp(descriptor: number): number;
  packetBind(descriptor: number, interfaceIndex: number, etherType: number): number;
  packetFilter(descriptor: number, program: Uint8Array): number;
  packetReceive(
    descriptor: number,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    count: number,
    capacityBytes: number,
    oldestMs: number,
  ): number;
  packetSend(
    descriptor: number,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    first: number,
    count: number,
  ): number;
  packetDrops(descriptor: number): number;
  socketError(descriptor: number): number;

  /** shim/packet-ring.c: memory that the kernel puts the frames of an AF_PACKET socket into. */
  packetRingOpen(
    descriptor: number,
    slotBytes: number,
    ringBytes: number,
  ): PacketRingHandle | number;
  packetRingReceive(
    ring: PacketRingHandle,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    count: number,
    capacityBytes: number,
    oldestMs: number,
  ): number;
  packetRingClose(ring: PacketRingHandle, descriptor: number): number;

  /** shim/tap.c: frames of one TAP interface, read and written until it would block. */
  tapReceive(
    descriptor: number,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    count: number,
    capacityBytes: number,
    etherType: number,
    mac: Uint8Array,
    dropped: Float64Array,
  ): number;
  tapSend(
    descriptor: number,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    first: number,
    count: number,
  ): number;

  /** shim/xdp.c: AF_XDP sockets, opened in steps that answer 0 or a negative errno. */
  xdpOpen(queues: number, chunksPerQueue: number, transmitChunks: number): XdpHandle;
  xdpLoad(xdp: XdpHandle, queues: number, etherType: number, multiBuffer: number): number;
  xdpAttach(xdp: XdpHandle, interfaceIndex: number, native: number): number;
  xdpBind(xdp: XdpHandle, interfaceIndex: number, flags: number, sendBufferBytes: number): number;
  xdpDescriptor(xdp: XdpHandle): number;
  xdpIsZeroCopy(xdp: XdpHandle): number;
  xdpStopReceiving(xdp: XdpHandle): void;
  xdpDrops(xdp: XdpHandle, counts: Float64Array): void;
  xdpClose(xdp: XdpHandle): void;
  /** shim/xdp-program.c: what the driver of an interface says. */
  xdpQueueCount(interfaceName: string): number;
  xdpStripsVlanTags(interfaceName: string): number;
  /** shim/xdp-frames.c */
  xdpReceive(
    xdp: XdpHandle,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    count: number,
    capacityBytes: number,
    mac: Uint8Array,
    dropped: Float64Array,
  ): number;
  xdpSend(
    xdp: XdpHandle,
    arena: Uint8Array,
    offsets: Float64Array,
    lengths: Int32Array,
    first: number,
    count: number,
    waiting: Int32Array,
  ): number;
  xdpKick(xdp: XdpHandle): number;

  /**
   * shim/threads.c: takes every capability from every thread, and the way to gain any. 0 or a
   * negative errno; -ETIMEDOUT when a thread blocks signals.
   */
  dropCapabilities(): number;

  /** shim/netlink.c: route netlink sockets. */
  netlinkOpen(groups: number): number;
  netlinkSend(descriptor: number, message: Uint8Array): number;
  netlinkReceive(descriptor: number, buffer: Uint8Array): number;
}

/** What `diskOpen` returns; it means nothing outside the shim. */
export type DiskHandle = { readonly disk: unique symbol };

/** What `packetRingOpen` returns; it means nothing outside the shim. */
export type PacketRingHandle = { readonly packetRing: unique symbol };

/** What `xdpOpen` returns; it means nothing outside the shim. */
export type XdpHandle = { readonly xdp: unique symbol };

/** What `pollOpen` returns; it means nothing outside the shim. */
export type PollHandle = { readonly poll: unique symbol };

/** UV_READABLE and UV_WRITABLE of libuv. */
export const POLL_READABLE = 1;
export const POLL_WRITABLE = 2;

const built = fileURLToPath(new URL("../../shim/build/", import.meta.url));

/** `AOED_SHIM=sanitized` takes the build with AddressSanitizer (see `make test-sanitized`). */
function shimPath(): string {
  const variant = process.env["AOED_SHIM"] === "sanitized" ? "aoed_shim.sanitized" : "aoed_shim";
  return `${built}${variant}.node`;
}

/** The package that npm brings with the published aoed: the same shim, built when it was released. */
const PREBUILT = `@aoed/shim-linux-${process.arch}-gnu`;

function load(): Shim {
  const require = createRequire(import.meta.url);
  const path = shimPath();
  if (existsSync(path)) return require(path) as Shim;
  try {
    return require(PREBUILT) as Shim;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    throw new UsageError(
      `the C shim is missing (neither ${path} nor the package ${PREBUILT} is there): ` +
        "run 'make' in a source tree; with npm, install aoed again, and not with --omit=optional",
    );
  }
}

export const shim: Shim = load();
