import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Child } from "../harness/child.ts";
import { until } from "../harness/command.ts";
import type { Namespace } from "../harness/network.ts";

/** A machine without a disk: an emulated PC with one network card, whose ROM is iPXE. */
export interface Machine {
  /** 1, 2, …: its disk is e1.1, e1.2, … */
  readonly number: number;
  readonly mac: string;
  /** The TAP that its card is plugged into. */
  readonly tap: string;
}

/**
 * How it finds its disk: from the ROOT-PATH that DHCP gives to the ROM of its card, or by a script
 * for iPXE, without any IP at all.
 */
export type BootWay = "dhcp" | "script";

export interface Booted {
  readonly mac: string;
  readonly times: number;
  readonly disk: string;
}

const BOOT_TIMEOUT_MS = 900_000;

export function machine(number: number): Machine {
  const mac = `52:54:00:00:00:0${number}`;
  return { number, mac, tap: `machine${number}` };
}

/** Switches it on and waits until it has switched itself off. @returns what it said */
export async function boot(
  folder: string,
  place: Namespace,
  { number, mac, tap }: Machine,
  way: BootWay,
): Promise<Booted> {
  const console = join(folder, `console-${number}-${way}.log`);
  const card = `virtio-net-pci,netdev=card,mac=${mac},bootindex=1`;
  const network = `tap,id=card,ifname=${tap},script=no,downscript=no`;
  const words = `-accel tcg -cpu max -m 256 -no-reboot -display none -serial file:${console}
    -device ${card} -netdev ${network}`;
  const options = words.split(/\s+/).concat(way === "script" ? scriptOptions(folder, number) : []);
  const command = ["qemu-system-x86_64", ...options];
  const child = new Child(folder, place.command(...command), `${console}.qemu`);
  let booted: Booted | undefined;
  await until(
    `machine ${number} has booted (see ${console})`,
    () => {
      booted ??= bootedOn(console);
      if (child.ending !== undefined && booted === undefined) {
        throw new Error(`machine ${number} ended: ${child.log}`);
      }
      return booted !== undefined;
    },
    { timeoutMs: BOOT_TIMEOUT_MS, everyMs: 200 },
  );
  await child.end(BOOT_TIMEOUT_MS);
  return booted!;
}

/** What the golden image says on the serial console; undefined until it does. */
function bootedOn(console: string): Booted | undefined {
  const text = existsSync(console) ? readFileSync(console, "latin1") : "";
  const match = /^BOOTED (\S+) times=(\d+) disk=(\S+)/m.exec(text);
  return match === null ? undefined : { mac: match[1], times: Number(match[2]), disk: match[3] };
}

function scriptOptions(folder: string, number: number): string[] {
  const script = join(folder, `boot-${number}.ipxe`);
  writeFileSync(script, `#!ipxe\nifopen net0\nsanboot aoe:e1.${number}\n`);
  return ["-kernel", "/boot/ipxe.lkrn", "-initrd", script];
}
