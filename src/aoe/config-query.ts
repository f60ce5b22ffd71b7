import {
  CONFIG_STRING_LIMIT_BYTES,
  CONFIG_STRING_OFFSET_BYTES,
  configCommand,
  ConfigCommand,
  configStringLength,
  writeConfig,
} from "./config.wire.ts";
import type { Exchange } from "./exchange.ts";
import { AoeError } from "./header.wire.ts";
import { advertisedSectors } from "./reply-port.ts";

/** What a target says about the server in every Config reply. */
export interface ConfigIdentity {
  /** Requests that an initiator may have outstanding. */
  readonly bufferCount: number;
  readonly firmwareVersion: number;
}

/**
 * Command 1, Config/Query (AoEr11 §3.2): discovery, and a string by which initiators claim disks.
 * A string is stored before it is confirmed.
 */
export function answerConfig(exchange: Exchange, identity: ConfigIdentity): void {
  const { bytes, frameOffset, target } = exchange;
  const current = target.state.configString;
  switch (configCommand(bytes, frameOffset)) {
    case ConfigCommand.read:
      return replyConfig(exchange, identity);
    case ConfigCommand.test:
      return answerTest(exchange, identity, (string) => equal(string, current));
    case ConfigCommand.testPrefix:
      return answerTest(exchange, identity, (string) => isPrefix(string, current));
    case ConfigCommand.set:
      return setConfigString(exchange, identity, false);
    case ConfigCommand.forceSet:
      return setConfigString(exchange, identity, true);
    default:
      return exchange.replyError(AoeError.badArgument);
  }
}

function answerTest(
  exchange: Exchange,
  identity: ConfigIdentity,
  matches: (string: Uint8Array) => boolean,
): void {
  const string = requestString(exchange);
  if (string === undefined) return exchange.replyError(AoeError.badArgument);
  if (!matches(string)) return exchange.drop("config_mismatch");
  replyConfig(exchange, identity);
}

function setConfigString(exchange: Exchange, identity: ConfigIdentity, force: boolean): void {
  const { target } = exchange;
  const string = requestString(exchange);
  if (string === undefined) return exchange.replyError(AoeError.badArgument);
  // The answer that clients know for a string that they may not replace.
  if (!target.allowsChange("config") && !equal(string, target.state.configString)) {
    return replyConfig(exchange, identity, AoeError.configStringPresent);
  }
  const wanted = string.slice();
  let isPresent = false;
  const change = target.changeState((state) => {
    const current = state.configString;
    if (equal(wanted, current)) return undefined;
    isPresent = !force && current.length > 0;
    return isPresent ? undefined : { ...state, configString: wanted };
  });
  change.then(
    () => replyConfig(exchange, identity, isPresent ? AoeError.configStringPresent : undefined),
    () => exchange.replyError(AoeError.deviceUnavailable),
  );
}

/** The string of the request; undefined when its length is wrong. */
function requestString({ bytes, frameOffset, frameLengthBytes }: Exchange): Uint8Array | undefined {
  const lengthBytes = configStringLength(bytes, frameOffset);
  const first = frameOffset + CONFIG_STRING_OFFSET_BYTES;
  const roomBytes = frameLengthBytes - CONFIG_STRING_OFFSET_BYTES;
  if (lengthBytes > CONFIG_STRING_LIMIT_BYTES || lengthBytes > roomBytes) return undefined;
  return bytes.subarray(first, first + lengthBytes);
}

function replyConfig(exchange: Exchange, identity: ConfigIdentity, error?: AoeError): void {
  const { bytes, frameOffset, port, target } = exchange;
  const lengthBytes = writeConfig(
    bytes,
    frameOffset,
    {
      ...identity,
      sectorCount: advertisedSectors(port.mtuBytes),
      command: configCommand(bytes, frameOffset),
    },
    target.state.configString,
  );
  if (error === undefined) exchange.reply(lengthBytes);
  else exchange.replyError(error, lengthBytes);
}

function equal(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

function isPrefix(prefix: Uint8Array, whole: Uint8Array): boolean {
  return equal(prefix, whole.subarray(0, prefix.length));
}
