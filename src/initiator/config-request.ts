import {
  CONFIG_STRING_LIMIT_BYTES,
  CONFIG_STRING_OFFSET_BYTES,
  configBufferCount,
  ConfigCommand,
  configFirmwareVersion,
  configSectorCount,
  configStringLength,
  writeConfig,
} from "../aoe/config.wire.ts";
import { AoeCommand } from "../aoe/header.wire.ts";
import { InitiatorError } from "./initiator-error.ts";
import type { Path } from "./path.ts";
import { AoeRequest, type ReplyFrame } from "./request.ts";

/** What a target says of itself in a Config reply (AoEr11 §3.2). */
export interface TargetConfig {
  /** Requests that an initiator may have outstanding. */
  readonly bufferCount: number;
  readonly firmwareVersion: number;
  /** Most sectors of one command. */
  readonly maxSectors: number;
  readonly configString: Uint8Array;
}

const NO_STRING = new Uint8Array(0);

/** Writes a Config query. @returns the length of the frame in octets */
export function writeConfigQuery(bytes: Uint8Array, at: number): number {
  const query = { bufferCount: 0, firmwareVersion: 0, sectorCount: 0, command: ConfigCommand.read };
  return writeConfig(bytes, at, query, NO_STRING);
}

/** @returns undefined when the frame is shorter than it says */
export function readConfig({ bytes, at, lengthBytes }: ReplyFrame): TargetConfig | undefined {
  if (lengthBytes < CONFIG_STRING_OFFSET_BYTES) return undefined;
  const stringBytes = configStringLength(bytes, at);
  const first = at + CONFIG_STRING_OFFSET_BYTES;
  if (stringBytes > CONFIG_STRING_LIMIT_BYTES) return undefined;
  if (CONFIG_STRING_OFFSET_BYTES + stringBytes > lengthBytes) return undefined;
  return {
    bufferCount: configBufferCount(bytes, at),
    firmwareVersion: configFirmwareVersion(bytes, at),
    maxSectors: configSectorCount(bytes, at),
    configString: bytes.slice(first, first + stringBytes),
  };
}

export interface ConfigOutcome {
  succeeded(config: TargetConfig, roundTripMs: number): void;
  failed(error: Error): void;
}

/** A Config query to one target. */
export class ConfigRequest extends AoeRequest {
  readonly command = AoeCommand.config;
  readonly #outcome: ConfigOutcome;

  constructor(path: Path, outcome: ConfigOutcome) {
    super(path, false);
    this.#outcome = outcome;
  }

  override writeArguments(bytes: Uint8Array, at: number): number {
    return writeConfigQuery(bytes, at);
  }

  override answered(reply: ReplyFrame, roundTripMs: number): void {
    const config = readConfig(reply);
    if (config === undefined) this.failed(new InitiatorError(`${this.path.name}: a bad answer`));
    else this.#outcome.succeeded(config, roundTripMs);
  }

  override failed(error: Error): void {
    this.#outcome.failed(error);
  }
}
