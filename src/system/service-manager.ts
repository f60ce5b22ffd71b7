import { callLibc, LibcType } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** struct sockaddr_un: the family, then the path. */
const FAMILY_BYTES = 2;
const PATH_LIMIT_BYTES = 108;

export interface ServiceEnvironment {
  readonly [name: string]: string | undefined;
}

/**
 * What systemd is told of a service (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET
 * names, a path or, after "@", an abstract name. Without it nothing is told.
 */
export class ServiceManager {
  readonly #address: Buffer | undefined;
  /** How often `alive` must be called, in milliseconds; undefined: there is no watchdog. */
  readonly watchdogIntervalMs: number | undefined;

  constructor(environment: ServiceEnvironment = process.env, processId = process.pid) {
    this.#address = socketAddress(environment["NOTIFY_SOCKET"]);
    this.watchdogIntervalMs = this.#address && watchdogInterval(environment, processId);
  }

  /** @param status one line for people: `systemctl status` shows it */
  ready(status: string): void {
    this.#tell(`READY=1\nMAINPID=${process.pid}\nSTATUS=${oneLine(status)}`);
  }

  /** The configuration is being read again; `ready` ends it. */
  reloading(): void {
    const microseconds = process.hrtime.bigint() / 1000n;
    this.#tell(`RELOADING=1\nMONOTONIC_USEC=${microseconds}`);
  }

  stopping(): void {
    this.#tell("STOPPING=1");
  }

  alive(): void {
    this.#tell("WATCHDOG=1");
  }

  /** Says `alive` in time from now on, for as long as the event loop turns and `isWell`. */
  keepAlive(isWell: () => boolean): void {
    if (this.watchdogIntervalMs === undefined) return;
    this.alive();
    const beat = (): void => {
      if (isWell()) this.alive();
    };
    // Half of what is allowed, as sd_watchdog_enabled(3) advises.
    setInterval(beat, this.watchdogIntervalMs / 2).unref();
  }

  #tell(message: string): void {
    if (this.#address === undefined) return;
    const socket = callLibc(
      "socket",
      [LibcType.int, AF_UNIX],
      [LibcType.int, SOCK_DGRAM | SOCK_CLOEXEC],
      [LibcType.int, 0],
    );
    if (socket < 0) return;
    const text = Buffer.from(message);
    // A service manager that does not listen is no reason to stop serving disks.
    callLibc(
      "sendto",
      [LibcType.int, socket],
      [LibcType.buffer, text],
      [LibcType.long, text.length],
      [LibcType.int, MSG_NOSIGNAL],
      [LibcType.buffer, this.#address],
      [LibcType.int, this.#address.length],
    );
    callLibc("close", [LibcType.int, socket]);
  }
}

/** struct sockaddr_un, without the octets behind the name. */
function socketAddress(name: string | undefined): Buffer | undefined {
  if (name === undefined || !/^[/@]./.test(name)) return undefined;
  const isAbstract = name.startsWith("@");
  const path = Buffer.from(isAbstract ? `\0${name.slice(1)}` : `${name}\0`);
  if (path.length > PATH_LIMIT_BYTES) return undefined;
  const address = Buffer.alloc(FAMILY_BYTES + path.length);
  address.writeUInt16LE(AF_UNIX, 0);
  path.copy(address, FAMILY_BYTES);
  return address;
}

/** The watchdog may be meant for another process of the service. */
function watchdogInterval(environment: ServiceEnvironment, processId: number): number | undefined {
  const meant = environment["WATCHDOG_PID"];
  if (meant !== undefined && meant !== String(processId)) return undefined;
  const microseconds = Number(environment["WATCHDOG_USEC"]);
  return microseconds > 0 ? microseconds / 1000 : undefined;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}
