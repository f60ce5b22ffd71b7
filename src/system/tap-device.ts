import { constants } from "node:fs";
import { UsageError } from "../errors.ts";
import { callLibc, errnoName, LibcType } from "./libc.ts";

const TUN_DEVICE = "/dev/net/tun";

/** linux/if_tun.h: _IOW('T', 202, int) and _IOW('T', 212, int) */
const TUNSETIFF = 0x400454ca;
const TUNSETSNDBUF = 0x400454d4;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;

/** Not among Node's constants; the same on x86-64 and ARM64. */
const O_CLOEXEC = 0o2000000;

/** struct ifreq: the name, then a union whose first two octets are the flags. */
const INTERFACE_REQUEST_BYTES = 40;
const NAME_BYTES = 16;

/** The longest name of an interface, in octets. */
export const INTERFACE_NAME_LIMIT = NAME_BYTES - 1;

/**
 * Bounds what was written and is still on its way to the wire: writes fail with EAGAIN until some of
 * it is gone. The kernel's own bound is none at all, and queues behind a bridge drop.
 * @throws Error with the kernel's reason
 */
export function limitTapSending(descriptor: number, bytes: number): void {
  const limit = Buffer.alloc(4);
  limit.writeInt32LE(bytes);
  const result = callLibc(
    "ioctl",
    [LibcType.int, descriptor],
    [LibcType.long, TUNSETSNDBUF],
    [LibcType.buffer, limit],
  );
  if (result < 0) throw new Error(`cannot bound what a TAP sends: ${errnoName(result)}`);
}

/**
 * Attaches to the TAP interface of that name, or creates it; one that was created goes away when
 * the descriptor is closed. Reads and writes are whole Ethernet frames and never wait.
 * @returns the descriptor
 * @throws UsageError without permission, or when the name belongs to something else
 */
export function openTapDevice(name: string): number {
  if (Buffer.byteLength(name) > INTERFACE_NAME_LIMIT) {
    throw new UsageError(`'${name}' is too long for an interface: at most 15 octets`);
  }
  const descriptor = openTunDevice();
  const request = Buffer.alloc(INTERFACE_REQUEST_BYTES);
  request.write(name);
  request.writeInt16LE(IFF_TAP | IFF_NO_PI, NAME_BYTES);
  const result = callLibc(
    "ioctl",
    [LibcType.int, descriptor],
    [LibcType.long, TUNSETIFF],
    [LibcType.buffer, request],
  );
  if (result >= 0) return descriptor;
  callLibc("close", [LibcType.int, descriptor]);
  throw tapError(name, errnoName(result));
}

function openTunDevice(): number {
  const flags = constants.O_RDWR | constants.O_NONBLOCK | O_CLOEXEC;
  const descriptor = callLibc("open", [LibcType.string, TUN_DEVICE], [LibcType.int, flags]);
  if (descriptor >= 0) return descriptor;
  const code = errnoName(descriptor);
  if (code === "ENOENT" || code === "ENODEV" || code === "ENXIO") {
    throw new UsageError(`${TUN_DEVICE} is missing: load the 'tun' module (modprobe tun)`);
  }
  if (code === "EACCES" || code === "EPERM") {
    throw new UsageError(`no permission to open ${TUN_DEVICE}: run with sudo`);
  }
  throw new UsageError(`cannot open ${TUN_DEVICE}: ${code}`);
}

function tapError(name: string, code: string): UsageError {
  switch (code) {
    case "EPERM":
      return new UsageError(
        `no permission to create the TAP interface '${name}': run with sudo, or give the process ` +
          `CAP_NET_ADMIN`,
      );
    case "EBUSY":
      return new UsageError(`the TAP interface '${name}' is in use by another program`);
    case "EINVAL":
      return new UsageError(`'${name}' is not a TAP interface, and no other may have its name`);
    default:
      return new UsageError(`cannot open the TAP interface '${name}': ${code}`);
  }
}
