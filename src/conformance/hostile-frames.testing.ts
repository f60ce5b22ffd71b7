import {
  Ata,
  ata,
  BROADCAST,
  config,
  Directive,
  EVERY_SHELF,
  EVERY_SLOT,
  flush,
  frameOf,
  identify,
  mask,
  macOctets,
  read,
  read28,
  reserve,
  withTrailing,
  write,
} from "./frames.testing.ts";
import type { Body, Mac } from "./frames.testing.ts";

/** Numbers that a seed repeats (xorshift32). */
export class Numbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  octets(length: number): Uint8Array {
    const octets = new Uint8Array(length);
    for (let index = 0; index < length; index++) octets[index] = this.below(256);
    return octets;
  }
}

export interface HostileTarget {
  readonly shelf: number;
  readonly slot: number;
  readonly sectors: number;
  readonly readOnly: boolean;
}

export interface HostileSurroundings {
  readonly serverMac: Mac;
  readonly stations: readonly Mac[];
  readonly targets: readonly HostileTarget[];
  /** Whether some frames are for every shelf. */
  readonly everyShelf: boolean;
  /** Octets of the longest frame that is made. */
  readonly longestFrame: number;
}

const TAG_OFFSET = 20;
const HEADER_BYTES = 24;
/** Fields that say how much follows: config string length, counts of lists, sector count. */
const COUNT_OFFSETS = [25, 26, 27, 30, 31] as const;

/** Frames that are valid, nearly valid, or noise; mostly nearly valid. */
export class HostileFrames {
  readonly #numbers: Numbers;
  readonly #surroundings: HostileSurroundings;
  #previous: Uint8Array = new Uint8Array(60);

  constructor(numbers: Numbers, surroundings: HostileSurroundings) {
    this.#numbers = numbers;
    this.#surroundings = surroundings;
  }

  /** The next frame. Its tag is `tag` when it has one, so that answers can be assigned. */
  next(tag: number): Uint8Array {
    const numbers = this.#numbers;
    let frame = numbers.chance(10) ? this.#noise() : this.#valid();
    const kept = frame.slice();
    if (numbers.chance(60)) frame = this.#mutated(frame);
    this.#previous = kept;
    if (frame.length > this.#surroundings.longestFrame) {
      frame = frame.slice(0, this.#surroundings.longestFrame);
    }
    if (frame.length >= HEADER_BYTES) {
      new DataView(frame.buffer, frame.byteOffset).setUint32(TAG_OFFSET, tag);
    }
    return frame;
  }

  #noise(): Uint8Array {
    const numbers = this.#numbers;
    const frame = numbers.octets(14 + numbers.below(200));
    if (numbers.chance(80)) this.#address(frame);
    return frame;
  }

  /** Makes noise reach the server's parser. */
  #address(frame: Uint8Array): void {
    const { serverMac, stations, targets } = this.#surroundings;
    const { shelf, slot } = this.#numbers.pick(targets);
    frame.set(macOctets(serverMac), 0);
    frame.set(macOctets(this.#numbers.pick(stations)), 6);
    frame.set(
      [0x88, 0xa2, 0x10, 0, shelf >> 8, shelf & 0xff, slot].slice(0, frame.length - 12),
      12,
    );
    if (frame.length > 19) frame[19] = this.#numbers.below(4);
  }

  #valid(): Uint8Array {
    const numbers = this.#numbers;
    const { serverMac, stations, targets, everyShelf } = this.#surroundings;
    const target = numbers.pick(targets);
    const header = {
      destination: numbers.chance(80) ? serverMac : BROADCAST,
      source: numbers.pick(stations),
      shelf: everyShelf && numbers.chance(5) ? EVERY_SHELF : target.shelf,
      slot: numbers.chance(95) ? target.slot : EVERY_SLOT,
      tag: 0,
    };
    let body = this.#body(target);
    if (numbers.chance(10)) body = withTrailing(body, numbers.octets(numbers.below(200)));
    return frameOf(header, body);
  }

  #body(target: HostileTarget): Body {
    const numbers = this.#numbers;
    const kind = numbers.below(100);
    if (kind < 30) return this.#read(target);
    if (kind < 60) return write(this.#lba(target), numbers.octets(512 * (1 + numbers.below(2))));
    if (kind < 66) return identify(numbers.below(3));
    if (kind < 70) return flush(numbers.pick([Ata.flush, Ata.flushExt]));
    if (kind < 76) return this.#trim(target);
    if (kind < 80) return ata({ code: numbers.below(256), count: numbers.below(4) });
    if (kind < 90) return this.#config();
    if (kind < 95) return this.#mask();
    return this.#reserve();
  }

  #lba(target: HostileTarget): number {
    const numbers = this.#numbers;
    if (numbers.chance(85)) return numbers.below(target.sectors);
    return numbers.pick([target.sectors - 1, target.sectors, 2 ** 28, 2 ** 32, 2 ** 48 - 1]);
  }

  #read(target: HostileTarget): Body {
    const numbers = this.#numbers;
    const count = numbers.below(4);
    const lba = this.#lba(target);
    return numbers.chance(70) ? read(lba, count) : read28(lba % 2 ** 28, count);
  }

  #trim(target: HostileTarget): Body {
    const numbers = this.#numbers;
    const data = new Uint8Array(512);
    const view = new DataView(data.buffer);
    for (let range = 0; range < numbers.below(6); range++) {
      view.setUint32(8 * range, this.#lba(target), true);
      view.setUint16(8 * range + 6, numbers.below(9), true);
    }
    return ata({ code: Ata.dataSetManagement, feature: 1, count: 1, data });
  }

  #config(): Body {
    const numbers = this.#numbers;
    const text = numbers.octets(numbers.pick([0, 1, 8, 8, 100, 1024]));
    return config({ subcommand: numbers.pick([0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 7]), text });
  }

  #mask(): Body {
    const numbers = this.#numbers;
    const directives = Array.from({ length: numbers.below(5) }, () => ({
      directive: numbers.pick([0, Directive.add, Directive.add, Directive.delete, 3]),
      mac: numbers.pick(this.#surroundings.stations),
    }));
    return mask({ subcommand: numbers.pick([0, 0, 0, 0, 0, 0, 1, 2]), directives });
  }

  #reserve(): Body {
    const numbers = this.#numbers;
    const macs = this.#surroundings.stations.slice(0, numbers.below(3));
    return reserve(numbers.pick([0, 0, 0, 0, 0, 0, 1, 2, 3]), macs);
  }

  #mutated(frame: Uint8Array): Uint8Array {
    const numbers = this.#numbers;
    switch (numbers.below(6)) {
      case 0:
        return this.#withFlippedBits(frame);
      case 1:
        return frame.slice(0, 14 + numbers.below(Math.max(1, frame.length - 14)));
      case 2:
        return Uint8Array.from([...frame, ...numbers.octets(numbers.below(64))]);
      case 3:
        return this.#spliced(frame);
      case 4:
        return withOctet(frame, numbers.pick(COUNT_OFFSETS), numbers.pick([0, 1, 2, 0x7f, 0xff]));
      default:
        return withOctet(frame, numbers.below(frame.length), numbers.below(256));
    }
  }

  #withFlippedBits(frame: Uint8Array): Uint8Array {
    const flipped = frame.slice();
    // Mostly in the header and the arguments, where bits mean something.
    const reach = this.#numbers.chance(70) ? Math.min(frame.length, 40) : frame.length;
    for (let count = 0; count <= this.#numbers.below(6); count++) {
      flipped[this.#numbers.below(reach)] ^= 1 << this.#numbers.below(8);
    }
    return flipped;
  }

  /** The head of this frame and the tail of the one before. */
  #spliced(frame: Uint8Array): Uint8Array {
    const at = 14 + this.#numbers.below(Math.max(1, frame.length - 14));
    return Uint8Array.from([...frame.subarray(0, at), ...this.#previous.subarray(at)]);
  }
}

function withOctet(frame: Uint8Array, offset: number, value: number): Uint8Array {
  const changed = frame.slice();
  if (offset < changed.length) changed[offset] = value;
  return changed;
}
