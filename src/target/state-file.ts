import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { systemErrorCode, UsageError } from "../errors.ts";
import { formatMac, parseMac } from "../mac-address.ts";

/**
 * What an initiator may leave at a target and must find again after a restart: config string, MAC
 * mask list, reservation. One small text file per target (docs/formats/target-state.md), replaced
 * as a whole: a new file is written, synced and renamed over the old one, and the folder synced.
 *
 * ```
 *   aoed-target-state 1 <crc32 of the rest, eight hex digits>\n
 *   {"config_string": "<base64>", "mask": ["02:…"], "reservation": []}\n
 * ```
 */
export interface TargetState {
  /** At most 1024 octets of anything. */
  readonly configString: Uint8Array;
  /** MACs as 48-bit numbers. Empty: everyone is admitted. */
  readonly mask: readonly number[];
  /** MACs as 48-bit numbers. Empty: nobody holds the target. */
  readonly reservation: readonly number[];
}

export const EMPTY_STATE: TargetState = {
  configString: new Uint8Array(0),
  mask: [],
  reservation: [],
};

const MAGIC = "aoed-target-state";
const VERSION = 1;

export function encodeState(state: TargetState): string {
  const body = `${JSON.stringify({
    config_string: Buffer.from(state.configString).toString("base64"),
    mask: state.mask.map(formatMac),
    reservation: state.reservation.map(formatMac),
  })}\n`;
  return `${MAGIC} ${VERSION} ${checksum(body)}\n${body}`;
}

/** @throws UsageError that names `path` when the text is not a state file that we can trust */
export function decodeState(text: string, path: string): TargetState {
  const remedy = "restore it from a backup, or remove it to start with an empty state";
  const match = /^(\S+) (\d+) ([0-9a-f]{8})\n/.exec(text);
  if (match === null || match[1] !== MAGIC) {
    throw new UsageError(`${path}: not a target state file; ${remedy}`);
  }
  if (Number(match[2]) !== VERSION) {
    throw new UsageError(
      `${path}: version ${match[2]}, and this aoed reads version ${VERSION}; use the aoed that wrote it`,
    );
  }
  const body = text.slice(match[0].length);
  if (checksum(body) !== match[3]) {
    throw new UsageError(`${path}: damaged, its checksum does not match; ${remedy}`);
  }
  return stateOf(JSON.parse(body), path, remedy);
}

function stateOf(value: unknown, path: string, remedy: string): TargetState {
  const fields = value as Record<string, unknown>;
  const configString = fields["config_string"];
  const mask = macList(fields["mask"]);
  const reservation = macList(fields["reservation"]);
  if (typeof configString !== "string" || mask === undefined || reservation === undefined) {
    throw new UsageError(`${path}: a field is missing or of the wrong kind; ${remedy}`);
  }
  return { configString: Buffer.from(configString, "base64"), mask, reservation };
}

function macList(value: unknown): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const macs = value.map((text) => (typeof text === "string" ? parseMac(text) : undefined));
  return macs.every((mac) => mac !== undefined) ? macs : undefined;
}

function checksum(body: string): string {
  return crc32(body).toString(16).padStart(8, "0");
}

export function stateFilePath(directory: string, shelf: number, slot: number): string {
  return join(directory, `e${shelf}.${slot}.state`);
}

/** @returns the state in the file, or the empty one where there is no file yet */
export async function loadState(path: string): Promise<TargetState> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return EMPTY_STATE;
    throw new UsageError(`${path}: cannot be read (${systemErrorCode(error)})`, { cause: error });
  }
  return decodeState(text, path);
}

/** Resolves when the state is durable. The folder is made at the first need. */
export async function saveState(
  directory: string,
  path: string,
  state: TargetState,
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // Before anything is replaced: what can fail should fail while the old state is still there.
  const folder = await open(directory, "r");
  const temporary = `${path}.new`;
  try {
    await writeAndSync(temporary, encodeState(state));
    await rename(temporary, path);
    await folder.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await folder.close();
  }
}

async function writeAndSync(path: string, text: string): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
