/** The numbers below `count`, each once, in an order that looks random and is the same every time. */
export class Permutation {
  readonly #count: number;
  readonly #mask: number;
  readonly #shift: number;
  readonly #seed: number;

  constructor(count: number, seed: number) {
    const bits = Math.max(2, Math.ceil(Math.log2(count)));
    if (bits > 31) throw new RangeError("more than 2^31 numbers");
    this.#count = count;
    this.#mask = 2 ** bits - 1;
    this.#shift = Math.ceil(bits / 2);
    this.#seed = seed;
  }

  at(index: number): number {
    let value = index;
    // Steps out of the range are taken again: the whole remains one to one.
    do value = this.#mix(value);
    while (value >= this.#count);
    return value;
  }

  /** Each step can be undone, so no two numbers come to the same. */
  #mix(index: number): number {
    const mask = this.#mask;
    let value = (index + Math.imul(this.#seed, 0x9e3779b1)) & mask;
    for (let round = 0; round < 3; round++) {
      value = Math.imul(value, 0x2c1b3c6d) & mask;
      value ^= value >>> this.#shift;
    }
    return (value + this.#seed) & mask;
  }
}
