import { Cancelled } from "../control/store-api.ts";
import { UsageError } from "../errors.ts";
import { copyDisk, type DiskEnd, firstDifference, RemoteEnd } from "../initiator/disk-copy.ts";
import type { Initiator } from "../initiator/initiator.ts";
import { AtaReplyError } from "../initiator/initiator-error.ts";
import type { RemoteDisk } from "../initiator/remote-disk.ts";
import { approximateSize } from "./approximate-size.ts";
import { confirm } from "./confirm.ts";
import { EXIT_INTERRUPTED } from "./exit-codes.ts";
import { ImageEnd } from "./image-end.ts";
import { openDisk, withInitiators } from "./initiators.ts";
import { withProgressBar } from "./long-work.ts";
import { printAnswer } from "./print.ts";
import { parseTargetAddress } from "./target-address.ts";

export interface CopyCommandOptions {
  readonly interface?: readonly string[];
  readonly overwrite?: true;
  readonly verify?: true;
  readonly yes?: true;
  readonly json?: true;
}

/** How long a disk may take for one request: as long as the Linux driver waits. */
const TIMEOUT_MS = 180_000;

interface CopyReport {
  readonly source: string;
  readonly destination: string;
  readonly sizeBytes: number;
  /** Less than the size where zeros became holes. */
  readonly writtenBytes: number;
  readonly elapsedSeconds: number;
  readonly verified: boolean;
}

/**
 * Copies a disk over the wire: from a target to a file, from a file to a target, or between two. A
 * file is there only when it is whole.
 * @returns the exit code: 1 when a target failed or what was written reads back differently
 */
export async function copy(
  source: string,
  destination: string,
  options: CopyCommandOptions,
): Promise<number> {
  if (!isTarget(source) && !isTarget(destination)) {
    const right = "name one such as e1.0, or use cp for files";
    throw new UsageError(`neither ${source} nor ${destination} is a target; ${right}`);
  }
  return withInitiators(options.interface ?? [], async (initiators) => {
    const from = await openSource(source, initiators);
    try {
      const to = await openDestination(destination, from, initiators, options);
      try {
        return await copyAndReport(from, to, options);
      } catch (error) {
        if (!(error instanceof Cancelled)) throw error;
        const rest = isNewFile(to)
          ? "the incomplete file is removed"
          : `${to.name} holds a part of it`;
        process.stderr.write(`aoed: interrupted; ${rest}\n`);
        return EXIT_INTERRUPTED;
      } finally {
        if (to instanceof ImageEnd) await to.close();
      }
    } finally {
      if (from instanceof ImageEnd) await from.close();
    }
  });
}

/** A file of such a name can be named "./e1.0". */
function isTarget(text: string): boolean {
  return /^e\d+\.\d+$/.test(text);
}

type End = ImageEnd | RemoteEnd;

async function openSource(text: string, initiators: readonly Initiator[]): Promise<End> {
  if (!isTarget(text)) return ImageEnd.forReading(text);
  return openTarget(text, initiators);
}

async function openTarget(text: string, initiators: readonly Initiator[]): Promise<RemoteEnd> {
  const address = parseTargetAddress(text, "SHELF.SLOT");
  return new RemoteEnd(await openDisk(initiators, address, { timeoutMs: TIMEOUT_MS }));
}

async function openDestination(
  text: string,
  source: DiskEnd,
  initiators: readonly Initiator[],
  { overwrite, yes }: CopyCommandOptions,
): Promise<End> {
  if (!isTarget(text)) {
    const end = await ImageEnd.forWriting(text, source.sizeBytes, overwrite === true);
    if (!end.isNew) await confirmLoss(end, yes === true);
    return end;
  }
  const end = await openTarget(text, initiators);
  if (end.sizeBytes < source.sizeBytes) {
    const sizes = `has ${end.sizeBytes} octets, the source ${source.sizeBytes}`;
    throw new UsageError(`${text}: ${sizes}; make the target larger`);
  }
  await confirmLoss(end, yes === true);
  return end;
}

async function confirmLoss({ name, sizeBytes }: DiskEnd, yes: boolean): Promise<void> {
  await confirm(`what ${name} (${approximateSize(sizeBytes)}) holds now will be lost`, yes);
}

async function copyAndReport(from: End, to: End, options: CopyCommandOptions): Promise<number> {
  const startedMs = performance.now();
  const outcome = await withProgressBar(async (signal, onProgress) => {
    const progressOf = (phase: string) => ({
      signal,
      onProgress: (done: number) =>
        onProgress({ phase, done, total: from.sizeBytes, unit: "bytes" }),
    });
    const isDestinationZero = isNewFile(to);
    const writtenBytes = await copyDisk(from, to, { ...progressOf("copy"), isDestinationZero });
    await makeDurable(to);
    if (options.verify !== true) return { writtenBytes, difference: undefined };
    return { writtenBytes, difference: await firstDifference(from, to, progressOf("verify")) };
  });
  if (outcome.difference !== undefined) {
    const where = `at octet ${outcome.difference}`;
    const rest = isNewFile(to) ? "; the file is removed" : "";
    process.stderr.write(`aoed: ${to.name} differs from ${from.name} ${where}${rest}\n`);
    return 1;
  }
  if (to instanceof ImageEnd) await to.keep();
  const report: CopyReport = {
    source: from.name,
    destination: to.name,
    sizeBytes: from.sizeBytes,
    writtenBytes: outcome.writtenBytes,
    elapsedSeconds: (performance.now() - startedMs) / 1000,
    verified: options.verify === true,
  };
  printAnswer(options, report, () => sentence(report));
  return 0;
}

/** It is zeros at first, and there only when all has been copied. */
function isNewFile(end: End): boolean {
  return end instanceof ImageEnd && end.isNew;
}

async function makeDurable(end: End): Promise<void> {
  if (end instanceof ImageEnd) await end.sync();
  else await flush(end.disk);
}

/** vblade knows no FLUSH: there is nothing to be had from it but its answers to the writes. */
async function flush(disk: RemoteDisk): Promise<void> {
  try {
    await disk.flush();
  } catch (error) {
    const isRefused = error instanceof AtaReplyError && (error.status & 0x20) === 0;
    if (!isRefused) throw error;
  }
}

function sentence(report: CopyReport): string {
  const { source, destination, sizeBytes, writtenBytes, elapsedSeconds, verified } = report;
  const holes =
    writtenBytes < sizeBytes ? `, of which ${approximateSize(writtenBytes)} is no hole` : "";
  const rate = approximateSize(sizeBytes / Math.max(elapsedSeconds, 1e-3));
  const proof = verified ? ", read back and equal" : "";
  return (
    `${source} to ${destination}: ${approximateSize(sizeBytes)}${holes}` +
    ` in ${elapsedSeconds.toFixed(1)} s (${rate}/s)${proof}\n`
  );
}
