import assert from "node:assert/strict";
import { BROADCAST, Flag, hex, macText } from "./frames.testing.ts";
import type { HostileTarget } from "./hostile-frames.testing.ts";
import type { Mac } from "./frames.testing.ts";
import type { Reply } from "./replies.testing.ts";

const ETHERTYPE = 0x88a2;
const MINIMUM_FRAME_BYTES = 60;

interface ModelDisk {
  readonly target: HostileTarget;
  readonly data: Uint8Array;
}

/**
 * What the frames sent so far may have done, told from the frames and the answers alone: every
 * answer must be one that this frame can get, every read must show what the writes before it left,
 * and only a write that was answered with success may have changed a disk.
 */
export class HostileOracle {
  readonly disks: readonly ModelDisk[];
  readonly #serverMac: Mac;
  readonly #mtuBytes: number;
  /** Frames that no target may be asked for. */
  notForUs = 0;
  /** Requests that targets were asked, a wildcard counting once for each. */
  asked = 0;
  answered = 0;

  constructor(targets: readonly HostileTarget[], serverMac: Mac, mtuBytes: number) {
    this.disks = targets.map((target) => ({ target, data: new Uint8Array(512 * target.sectors) }));
    this.#serverMac = serverMac;
    this.#mtuBytes = mtuBytes;
  }

  /** The targets that the frame addresses, if it is a request to us at all. */
  addressed(frame: Uint8Array): HostileTarget[] {
    if (frame.length < 24) return [];
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const destination = macText(frame);
    const source = frame.subarray(6, 12);
    if (view.getUint16(12) !== ETHERTYPE) return [];
    if (destination !== this.#serverMac && destination !== BROADCAST) return [];
    if ((source[0] & 1) !== 0 || source.every((octet) => octet === 0)) return [];
    if ((frame[14] & Flag.response) !== 0) return [];
    const [shelf, slot] = [view.getUint16(16), frame[18]];
    return this.disks
      .map(({ target }) => target)
      .filter((target) => shelf === 0xffff || shelf === target.shelf)
      .filter((target) => slot === 0xff || slot === target.slot);
  }

  /** Takes one frame and all answers with its tag, in the order of arrival. */
  take(frame: Uint8Array, replies: readonly Reply[]): void {
    const addressed = this.addressed(frame);
    if (addressed.length === 0) this.notForUs++;
    this.asked += addressed.length;
    this.answered += replies.length;
    const names = replies.map((reply) => reply.address);
    assert.equal(new Set(names).size, names.length, "one answer from each target");
    for (const reply of replies) {
      const target = addressed.find(({ shelf, slot }) => reply.address === `e${shelf}.${slot}`);
      assert.ok(target !== undefined, `no such target was asked: ${reply.hex}`);
      this.#checkReply(frame, reply, target);
    }
  }

  #checkReply(frame: Uint8Array, reply: Reply, target: HostileTarget): void {
    assert.equal(reply.source, this.#serverMac);
    assert.equal(reply.destination, macText(frame.subarray(6)));
    assert.equal(reply.version, 1);
    assert.equal(reply.flags & ~Flag.error, Flag.response);
    assert.equal(reply.command, frame[19]);
    assert.ok(reply.lengthBytes >= MINIMUM_FRAME_BYTES, "at least 60 octets");
    assert.ok(reply.lengthBytes <= this.#mtuBytes + 14, `${reply.lengthBytes} octets`);
    if (reply.isError) assert.ok(reply.error >= 1 && reply.error <= 6, `error ${reply.error}`);
    else assert.equal(reply.error, 0);
    if (frame[14] >> 4 !== 1) return this.#expectError(reply, 5);
    if (reply.command > 3) return this.#expectError(reply, 1);
    if (reply.command === 0) this.#checkAta(frame, reply, target);
    checkPadding(reply, this.#mtuBytes);
  }

  #expectError(reply: Reply, error: number): void {
    assert.ok(reply.isError);
    assert.equal(reply.error, error);
  }

  #checkAta(frame: Uint8Array, reply: Reply, target: HostileTarget): void {
    assert.ok(frame.length >= 36, "a short command is not executed");
    if (reply.isError) return this.#expectError(reply, 6);
    const { status, error } = reply.ata;
    assert.ok(status === 0x40 || status === 0x41, `status ${status}`);
    const [code, count] = [frame[27], frame[26]];
    const isExt = code === 0x24 || code === 0x34;
    const lba = isExt ? lba48(frame) : lba48(frame) % 2 ** 28;
    const isRead = code === 0x20 || code === 0x24;
    const isWrite = code === 0x30 || code === 0x34;
    if (isRead || isWrite) {
      const expected = this.#expectedError(frame, target, isWrite, lba, count);
      assert.equal(error, expected, `error register for ${hex(frame)}`);
      assert.equal(status, expected === 0 ? 0x40 : 0x41);
    }
    if (status !== 0x40) {
      assert.equal(reply.lengthBytes, 60, "no data with an error");
      return;
    }
    const disk = this.#disk(target);
    if (isRead) {
      const stored = disk.subarray(512 * lba, 512 * (lba + count));
      assert.equal(Buffer.compare(reply.ata.data, stored), 0, `data of sector ${lba}`);
    } else if (isWrite) {
      disk.set(frame.subarray(36, 36 + 512 * count), 512 * lba);
    } else if (code === 0x06) {
      this.#trim(frame, target, count);
    }
  }

  #expectedError(
    frame: Uint8Array,
    target: HostileTarget,
    isWrite: boolean,
    lba: number,
    count: number,
  ): number {
    if (isWrite && target.readOnly) return 0x04;
    if (count === 0 || 36 + 512 * count > this.#mtuBytes + 14) return 0x04;
    if (lba + count > target.sectors) return 0x10;
    if (isWrite && frame.length < 36 + 512 * count) return 0x04;
    return 0;
  }

  #trim(frame: Uint8Array, target: HostileTarget, blocks: number): void {
    assert.equal(target.readOnly, false);
    assert.ok(frame.length >= 36 + 512 * blocks, "all ranges are there");
    const view = new DataView(frame.buffer, frame.byteOffset);
    for (let at = 36; at < 36 + 512 * blocks; at += 8) {
      const first = view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
      const sectors = view.getUint16(at + 6, true);
      if (sectors === 0) continue;
      assert.ok(first + sectors <= target.sectors, "a range on the disk");
      this.#disk(target).fill(0, 512 * first, 512 * (first + sectors));
    }
  }

  #disk(target: HostileTarget): Uint8Array {
    const disk = this.disks.find((one) => one.target === target);
    assert.ok(disk !== undefined);
    return disk.data;
  }
}

function lba48(frame: Uint8Array): number {
  let lba = 0;
  for (let index = 5; index >= 0; index--) lba = lba * 256 + frame[28 + index];
  return lba;
}

/** Behind what an answer means there are zeros and nothing else. */
function checkPadding(reply: Reply, mtuBytes: number): void {
  const end = meaningfulLength(reply);
  assert.ok(end <= mtuBytes + 14, "an answer that says more than a frame holds");
  assert.equal(reply.lengthBytes, Math.max(end, MINIMUM_FRAME_BYTES), "ends with its content");
  const padding = reply.octets.subarray(end);
  assert.ok(
    padding.every((octet) => octet === 0),
    `padding of ${reply.hex}`,
  );
}

function meaningfulLength(reply: Reply): number {
  const [error, code] = [reply.isError, reply.error];
  if (reply.command === 1 && (!error || code === 4)) return 32 + reply.config.length;
  if (reply.command === 2 && !error) {
    return reply.mask.error === 0 ? 28 + 8 * reply.mask.count : 28;
  }
  if (reply.command === 3 && (!error || code === 6)) return 26 + 6 * reply.reserve.count;
  if (reply.command === 0 && !error) return Math.max(36, ataLength(reply));
  return 24;
}

/** Only READ and IDENTIFY answer with data; how much of a READ is checked against the disk. */
function ataLength(reply: Reply): number {
  return reply.lengthBytes > MINIMUM_FRAME_BYTES ? reply.lengthBytes : 36;
}
