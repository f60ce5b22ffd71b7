import { advertisedSectors } from "../aoe/reply-port.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import type { DiscoveredTarget } from "./discovery.ts";
import type { PathReport } from "./path-report.ts";

/** Something that an administrator should know. Problems lose data or service; warnings, speed. */
export interface Finding {
  readonly severity: "note" | "warning" | "problem";
  /** "e1.0" */
  readonly target: string;
  /** What is so, then what to do. */
  readonly message: string;
}

/** Linux ignores targets at it. */
const SHELF_THAT_LINUX_REFUSES = 4095;
const SLOT_OF_ALL = 255;
/** A path that loses more makes the Linux driver slow; less may be chance. */
const TOLERABLE_LOSS = 0.01;

/** What is wrong with a segment, from the reports of every way to every target. */
export function findings(reports: readonly PathReport[]): Finding[] {
  const byTarget = Map.groupBy(reports, ({ target }) => nameOf(target));
  return [...byTarget].flatMap(([name, paths]) => [
    ...addressFindings(name, paths[0].target),
    ...identityFindings(name, paths),
    ...paths.flatMap((path) => pathFindings(name, path)),
  ]);
}

function nameOf({ shelf, slot }: DiscoveredTarget): string {
  return `e${shelf}.${slot}`;
}

function addressFindings(name: string, { shelf, slot }: DiscoveredTarget): Finding[] {
  if (shelf !== SHELF_THAT_LINUX_REFUSES && slot !== SLOT_OF_ALL) return [];
  const message =
    "Linux ignores this address; give the target a shelf below 4095, a slot below 255";
  return [{ severity: "problem", target: name, message }];
}

/** Whether all that answer for one address are one disk. */
function identityFindings(name: string, paths: readonly PathReport[]): Finding[] {
  const macs = new Set(paths.map(({ target }) => target.mac));
  const ways = paths.map(({ target }) => `${target.mac} on ${target.interface}`).join(", ");
  const disks = new Set(paths.map(({ target }) => identityOf(target)));
  if (disks.size > 1) {
    const message =
      `different disks answer for this address (${ways}): initiators would use them as one and ` +
      "corrupt both; give one of them another address at once";
    return [{ severity: "problem", target: name, message }];
  }
  if (paths.length === 1) return [];
  const what = macs.size === 1 ? "one server is reached twice" : "one disk is reached";
  const message = `${what} (${ways}): the Linux driver uses all of these ways`;
  return [{ severity: "note", target: name, message }];
}

/** Paths whose disk did not say what it is are compared by what the server says. */
function identityOf({ serial, sectors, model, mac }: DiscoveredTarget): string {
  if (serial === undefined || serial === "") return `${model} ${sectors} ${mac}`;
  return JSON.stringify([model, serial, sectors]);
}

function pathFindings(name: string, report: PathReport): Finding[] {
  const { target, ping } = report;
  const way = `by ${target.mac} on ${target.interface}`;
  const found: Finding[] = [];
  const add = (severity: Finding["severity"], message: string): void => {
    found.push({ severity, target: name, message: `${way}: ${message}` });
  };
  if (target.fault !== undefined) {
    add("problem", `the disk does not say what it is (${target.fault}); look at the server's log`);
  }
  if (target.bufferCount === 0) add("problem", "the server takes no requests (buffer count 0)");
  addSizeFindings(report, add);
  if (ping.lossRate > TOLERABLE_LOSS) {
    const lost = `${ping.sent - ping.received} of ${ping.sent} requests were not answered`;
    add("warning", `${lost}; look for a bad cable, a full switch queue or an overloaded server`);
  }
  return found;
}

function addSizeFindings(
  { target, mtuBytes, sizes }: PathReport,
  add: (severity: Finding["severity"], message: string) => void,
): void {
  const { outwardBytes, inwardSectors } = sizes;
  if (outwardBytes < mtuBytes) {
    add(
      "problem",
      `packets of more than ${outwardBytes} octets do not arrive, though the MTU here is ` +
        `${mtuBytes}; raise the MTU of the switch and the server, or lower it here`,
    );
  }
  const asked = Math.min(target.maxSectors, advertisedSectors(mtuBytes));
  if (inwardSectors !== undefined && inwardSectors < asked) {
    add(
      "problem",
      `answers of more than ${inwardSectors * SECTOR_BYTES} octets of data do not come back, but ` +
        `the server offers ${target.maxSectors * SECTOR_BYTES}; raise the MTU on the way`,
    );
  }
  if (target.maxSectors < advertisedSectors(mtuBytes)) {
    add(
      "warning",
      `the server takes ${target.maxSectors} sectors at once, and the MTU here of ${mtuBytes} ` +
        `has room for ${advertisedSectors(mtuBytes)}; raise the server's MTU for more speed`,
    );
  }
}
