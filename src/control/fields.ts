import { UsageError } from "../errors.ts";

/** The fields of a request's JSON object, read one by one with a clear answer to what is wrong. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;

  /**
   * @param known the keys that the operation takes: another one is a mistake, not ignored
   * @throws UsageError
   */
  constructor(value: unknown, known: readonly string[]) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new UsageError("the request is not a JSON object");
    }
    this.#values = value as Record<string, unknown>;
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      const list = known.length === 0 ? "there are none" : `there is ${known.join(", ")}`;
      throw new UsageError(`${JSON.stringify(key)} is not a field of this request; ${list}`);
    }
  }

  text(key: string): string {
    return this.optionalText(key) ?? missing(key);
  }

  optionalText(key: string): string | undefined {
    const value = this.#present(key);
    if (value === undefined || typeof value === "string") return value;
    throw new UsageError(`${key} must be text`);
  }

  /** A whole number that is not negative. */
  number(key: string): number {
    return this.optionalNumber(key) ?? missing(key);
  }

  optionalNumber(key: string): number | undefined {
    const value = this.#present(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw new UsageError(`${key} must be a whole number`);
  }

  optionalFlag(key: string): boolean | undefined {
    const value = this.#present(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw new UsageError(`${key} must be true or false`);
  }

  optionalTable(key: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.#present(key);
    if (value === undefined) return undefined;
    if (typeof value === "object" && !Array.isArray(value)) {
      return value as Readonly<Record<string, unknown>>;
    }
    throw new UsageError(`${key} must be an object`);
  }

  optionalChoice<const Choice extends string>(
    key: string,
    choices: readonly Choice[],
  ): Choice | undefined {
    const value = this.optionalText(key);
    if (value === undefined) return undefined;
    const choice = choices.find((candidate) => candidate === value);
    if (choice !== undefined) return choice;
    throw new UsageError(`${key} must be one of ${choices.join(", ")}`);
  }

  /** Null is as good as absent: some clients write every field. */
  #present(key: string): unknown {
    return this.#values[key] ?? undefined;
  }
}

function missing(key: string): never {
  throw new UsageError(`${key} is missing`);
}
