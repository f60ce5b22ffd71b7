import { BlockOperation, BlockRequest, BlockStatus } from "../storage/block-storage.ts";
import type { Target } from "../target/target.ts";
import {
  RESERVE_MACS_OFFSET_BYTES,
  reserveCommand,
  ReserveCommand,
  reserveCount,
  reserveMac,
  writeReservation,
} from "./access.wire.ts";
import type { Exchange } from "./exchange.ts";
import { sameMacs } from "./same-macs.ts";
import { AoeError, ETHERNET_HEADER_BYTES, MAC_BYTES, sourceMac } from "./header.wire.ts";

/**
 * Command 3, Reserve/Release (AoEr11 §3.4): initiators keep others from using a disk. A new
 * reservation is stored, and every write received before it took effect is done, before it is
 * confirmed: whoever takes a disk over finds no late writes of the one before.
 */
export function answerReserve(exchange: Exchange): void {
  switch (reserveCommand(exchange.bytes, exchange.frameOffset)) {
    case ReserveCommand.read:
      return replyReservation(exchange);
    case ReserveCommand.set:
      return reserve(exchange, false);
    case ReserveCommand.forceSet:
      return reserve(exchange, true);
    default:
      return exchange.replyError(AoeError.badArgument);
  }
}

function reserve(exchange: Exchange, force: boolean): void {
  const macs = requestMacs(exchange);
  if (macs === undefined) return exchange.replyError(AoeError.badArgument);
  if (!exchange.target.allowsChange("reserve")) return exchange.replyError(AoeError.badArgument);
  const requester = sourceMac(exchange.bytes, exchange.frameOffset);
  reserveFor(exchange.target, macs, requester, force).then(
    (isGranted) => replyReservation(exchange, isGranted ? undefined : AoeError.targetReserved),
    () => exchange.replyError(AoeError.deviceUnavailable),
  );
}

/** @returns whether the reservation was granted */
async function reserveFor(
  target: Target,
  macs: readonly number[],
  requester: number,
  force: boolean,
): Promise<boolean> {
  let isGranted = true;
  await target.changeState((state) => {
    const holders = state.reservation;
    isGranted = force || holders.length === 0 || holders.includes(requester);
    if (!isGranted || sameMacs(macs, holders)) return undefined;
    return { ...state, reservation: macs };
  });
  if (isGranted) await finishedWrites(target);
  return isGranted;
}

/** Resolves when all writes that were handed to the storage so far are done. */
async function finishedWrites(target: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    const barrier = new Barrier((status) => {
      if (status === BlockStatus.ok) resolve();
      else reject(new Error("the writes before the reservation failed"));
    });
    target.flush(barrier);
    target.storage.submit();
  });
}

class Barrier extends BlockRequest {
  readonly #onCompleted: (status: BlockStatus) => void;

  constructor(onCompleted: (status: BlockStatus) => void) {
    super();
    this.operation = BlockOperation.flush;
    this.#onCompleted = onCompleted;
  }

  override completed(): void {
    this.#onCompleted(this.status);
  }
}

/** The list of the request; undefined when it claims more than it carries. */
function requestMacs({ bytes, frameOffset, frameLengthBytes }: Exchange): number[] | undefined {
  const count = reserveCount(bytes, frameOffset);
  if (RESERVE_MACS_OFFSET_BYTES + count * MAC_BYTES > frameLengthBytes) return undefined;
  return Array.from({ length: count }, (_, index) => reserveMac(bytes, frameOffset, index));
}

/** Tells the list; of one that is longer than a frame of this interface, what fits. */
function replyReservation(exchange: Exchange, error?: AoeError): void {
  const { bytes, frameOffset, port, target } = exchange;
  const roomBytes = port.mtuBytes + ETHERNET_HEADER_BYTES - RESERVE_MACS_OFFSET_BYTES;
  const macs = target.state.reservation.slice(0, Math.floor(roomBytes / MAC_BYTES));
  const lengthBytes = writeReservation(bytes, frameOffset, macs);
  if (error === undefined) exchange.reply(lengthBytes);
  else exchange.replyError(error, lengthBytes);
}
