import type { DiscoveredTarget } from "../initiator/discovery.ts";
import { targetName } from "../config/configuration.ts";
import { formatSize } from "../config/units.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { openInitiators, SILENCE } from "./initiators.ts";
import { octetsAsBase64, readDuration } from "./option-values.ts";
import { formatTable } from "./table.ts";

export interface DiscoverCommandOptions {
  readonly interface?: readonly string[];
  readonly timeout: string;
  readonly json?: true;
}

/** Prints every target that answers a broadcast on the interfaces. */
export async function discover(options: DiscoverCommandOptions): Promise<void> {
  const timeoutMs = readDuration(options.timeout, "--timeout");
  const initiators = openInitiators(options.interface ?? []);
  const found = await Promise.all(
    initiators.map(async (initiator) => {
      const targets = await initiator.discover({ timeoutMs });
      await initiator.close();
      return targets;
    }),
  );
  const targets = found.flat().toSorted((a, b) => a.shelf - b.shelf || a.slot - b.slot);
  if (options.json === true) {
    const answer = targets.map((target) => ({
      ...target,
      configString: octetsAsBase64(target.configString),
    }));
    process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
  } else if (targets.length === 0) {
    process.stderr.write(SILENCE);
  } else {
    process.stdout.write(summary(targets));
  }
}

function summary(targets: readonly DiscoveredTarget[]): string {
  return formatTable(
    ["TARGET", "SIZE", "INTERFACE", "SERVER", "SECTORS", "BUFFERS", "MODEL", "SERIAL"],
    targets.map((target) => [
      targetName(target),
      target.sectors === undefined ? "unknown" : formatSize(target.sectors * SECTOR_BYTES),
      target.interface,
      target.mac,
      String(target.maxSectors),
      String(target.bufferCount),
      printable(target.model ?? target.fault ?? ""),
      printable(target.serial ?? ""),
    ]),
  );
}

/** What a server on the wire calls itself must not control a terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
