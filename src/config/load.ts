import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";
import { systemErrorCode, UsageError } from "../errors.ts";
import type {
  Configuration,
  MetricsAddress,
  MetricsConfiguration,
  PortKind,
  ServerConfiguration,
  TargetConfiguration,
} from "./configuration.ts";
import type { ObjectStoreSettings } from "../object/object-store-settings.ts";
import { type KeyPath, type KeyPositions, locateKeys } from "./key-locator.ts";
import { isLocal } from "./metrics-address.ts";
import { nearest } from "./nearest.ts";
import { type FrontConfiguration, frontOf } from "./front-keys.ts";
import {
  objectStoreOf,
  objectStoreRules,
  objectStoreSchemas,
  storeFileSchema,
} from "./object-store-keys.ts";
import type { RuleViolation } from "./rules.ts";
import { portConflict, targetConflicts, targetRules, toTargetConfiguration } from "./rules.ts";
import { controlSocketIn, defaultStateDirectory } from "./state-directory.ts";
import { casSchema, serverSchema, snapshotsSchema, targetSchema } from "./schema.ts";
import { describeValue } from "./values.ts";

/** Options of the command line that go before, or are added to, what the file says. */
export interface ConfigurationOptions {
  /** Instead of the file's, when there are any. */
  readonly interfaces?: readonly string[];
  /** Beside the file's. */
  readonly targets?: readonly TargetConfiguration[];
  /** Instead of the file's. */
  readonly port?: PortKind | undefined;
  /** Instead of the file's. */
  readonly workers?: number | undefined;
  readonly pcapPath?: string | undefined;
  /** Instead of the file's; without both it is `defaultStateDirectory(true)`. */
  readonly stateDirectory?: string | undefined;
}

const NO_CONTROL_SOCKET = "none";

/** A mistake in a configuration file. */
export interface ConfigurationProblem {
  /** Counts from 1, as `column` does. */
  readonly line: number;
  readonly column: number;
  /** "target[0].size"; empty when the file is not TOML at all. */
  readonly key: string;
  /** What is wrong; what would be right. */
  readonly message: string;
}

/** `FILE:LINE:COLUMN: KEY: what is wrong; what would be right`, always one line. */
export function formatProblem(problem: ConfigurationProblem, path: string): string {
  const key = problem.key === "" ? "" : `${problem.key}: `;
  return `${path}:${problem.line}:${problem.column}: ${key}${problem.message}`;
}

/** Every mistake of a file; the message is the first one. */
export class ConfigurationError extends UsageError {
  readonly problems: readonly ConfigurationProblem[];

  constructor(problems: readonly ConfigurationProblem[], path: string) {
    const others = problems.length - 1;
    const more = others === 0 ? "" : ` (and ${others} more: aoed check-config ${path})`;
    super(`${formatProblem(problems[0], path)}${more}`);
    this.name = "ConfigurationError";
    this.problems = problems;
  }
}

/**
 * Reads and checks a configuration file; touches nothing else on disk.
 * @throws ConfigurationError with all mistakes of the file
 */
export function loadConfiguration(path: string, options: ConfigurationOptions = {}): Configuration {
  return parseConfiguration(readText(path), path, options);
}

export function readText(path: string): string {
  let octets: Uint8Array;
  try {
    octets = readFileSync(path);
  } catch (error) {
    const reason = systemErrorCode(error) ?? "unknown error";
    throw new UsageError(`${path}: cannot be read (${reason}); check the path and its permissions`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(octets);
  } catch {
    throw new UsageError(`${path}: is not UTF-8 text; save it in that encoding`);
  }
}

/**
 * @param text the TOML document
 * @param path where it came from: for messages, and its folder is what relative paths start from
 */
export function parseConfiguration(
  text: string,
  path: string,
  options: ConfigurationOptions = {},
): Configuration {
  const document = parseToml(text, path);
  return new Reader(document, locateKeys(text), path, options).read();
}

/** Where a store is, for commands that work on one. */
export interface StoreLocation {
  /** The store's folder, or the one in front of an object store; absolute. */
  readonly path: string;
  readonly objectStore: ObjectStoreSettings | undefined;
  readonly front: FrontConfiguration;
  /** Beside a server that has it: nothing is written. */
  readonly readOnly: boolean;
}

/**
 * Reads a file that describes a store with the keys of [target.cas], without that heading.
 * @throws ConfigurationError, UsageError
 */
export function loadStoreFile(path: string): StoreLocation {
  const text = readText(path);
  return new Reader(parseToml(text, path), locateKeys(text), path, {}).readStore();
}

/**
 * A target whose keys come from elsewhere than a file, named and checked as in a file.
 * @throws UsageError "KEY: what is wrong; what would be right"
 */
export function parseTargetKeys(keys: Readonly<Record<string, unknown>>): TargetConfiguration {
  const document = { server: { interface: "any" }, target: [keys] };
  try {
    return new Reader(document, locateKeys(""), "/", {}).read().targets[0];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    const { key, message } = error.problems[0];
    throw new UsageError(`${key.replace(/^target\[0\]\.?/, "")}: ${message}`.replace(/^: /, ""));
  }
}

type Table = Record<string, unknown>;

const casTables = { snapshots: snapshotsSchema, ...objectStoreSchemas };

function parseToml(text: string, path: string): Table {
  try {
    return parse(text, { maxDepth: 64 });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split("\n", 1)[0].replace(/^Invalid TOML document: /, "");
    const message = `not valid TOML: ${printable(reason)}`;
    const { line, column } = error;
    throw new ConfigurationError([{ line, column, key: "", message }], path);
  }
}

/** The parser's messages may quote the document: they stay one line. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}

function isTable(value: unknown): value is Table {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)
  );
}

class Reader {
  readonly #document: Table;
  readonly #positions: KeyPositions;
  readonly #path: string;
  readonly #options: ConfigurationOptions;
  readonly #problems: ConfigurationProblem[] = [];

  constructor(
    document: Table,
    positions: KeyPositions,
    path: string,
    options: ConfigurationOptions,
  ) {
    this.#document = document;
    this.#positions = positions;
    this.#path = path;
    this.#options = options;
  }

  read(): Configuration {
    this.#unknownKeys(this.#document, [], ["server", "target"]);
    const server = this.#server();
    const targets = this.#targets();
    if (this.#problems.length > 0 || server === undefined) throw this.#error();
    return { server, targets };
  }

  readStore(): StoreLocation {
    const tables = Object.entries(objectStoreSchemas);
    this.#unknownKeys(this.#document, [], Object.keys(storeFileSchema.entries));
    for (const [name, { entries }] of tables) {
      const table = this.#document[name];
      if (isTable(table)) this.#unknownKeys(table, [name], Object.keys(entries));
    }
    const keys = this.#parse(storeFileSchema, this.#document, []);
    if (keys === undefined) throw this.#error();
    if (keys.path === undefined) this.#problem(["path"], "is missing; name a local folder");
    this.#violations(objectStoreRules(keys), []);
    if (this.#problems.length > 0 || keys.path === undefined) throw this.#error();
    const folder = dirname(this.#path);
    return {
      path: resolve(folder, keys.path),
      objectStore: objectStoreOf(keys, folder),
      front: frontOf(keys),
      readOnly: keys.read_only,
    };
  }

  /** All problems so far, in the order of the file. */
  #error(): ConfigurationError {
    const inOrder = this.#problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
    return new ConfigurationError(inOrder, this.#path);
  }

  #server(): ServerConfiguration | undefined {
    const table = this.#document["server"] ?? {};
    if (!isTable(table)) {
      this.#problem(["server"], `${describeValue(table)} is not a table; write [server]`);
      return undefined;
    }
    this.#unknownKeys(table, ["server"], Object.keys(serverSchema.entries));
    const keys = this.#parse(serverSchema, table, ["server"]);
    if (keys === undefined) return undefined;
    const stateDirectory = this.#options.stateDirectory ?? this.#resolve(keys.state_dir);
    const { port = keys.port, workers = keys.workers } = this.#options;
    const conflict = portConflict(port, workers);
    if (conflict !== undefined) this.#problem(["server", "workers"], conflict);
    return {
      interfaces: this.#interfaces(keys.interface, keys.interfaces),
      port,
      workers,
      bufferCount: keys.buffer_count,
      ...(keys.busy_poll === undefined ? {} : { busyPollMs: keys.busy_poll }),
      stateDirectory: stateDirectory ?? defaultStateDirectory(true),
      controlSocket: this.#controlSocket(
        keys.control_socket,
        stateDirectory ?? defaultStateDirectory(true),
      ),
      controlSocketAccess: {
        owner: keys.control_socket_owner,
        group: keys.control_socket_group,
        mode: keys.control_socket_mode,
      },
      user: keys.user,
      gc: keys.gc,
      metrics: this.#metrics(keys.metrics, keys.web_control),
      pcapPath: this.#options.pcapPath,
    };
  }

  #metrics(
    addresses: readonly MetricsAddress[] | undefined,
    allowsControl: boolean,
  ): MetricsConfiguration | undefined {
    const place = ["server", "web_control"];
    if (addresses === undefined) {
      if (allowsControl) this.#problem(place, "needs metrics, the address of the page");
      return undefined;
    }
    if (allowsControl && !addresses.every(isLocal)) {
      const right = "listen on 127.0.0.1 or ::1 only";
      this.#problem(place, `would let the whole network change snapshots; ${right}`);
    }
    return { addresses, allowsControl };
  }

  #resolve(path: string | undefined): string | undefined {
    return path === undefined ? undefined : resolve(dirname(this.#path), path);
  }

  #controlSocket(path: string | undefined, stateDirectory: string): string | undefined {
    if (path === NO_CONTROL_SOCKET) return undefined;
    const socket = this.#resolve(path) ?? controlSocketIn(stateDirectory);
    if (Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES) {
      const right = `use at most ${MAX_SOCKET_PATH_BYTES} octets, or "${NO_CONTROL_SOCKET}"`;
      const key = path === undefined ? "state_dir" : "control_socket";
      this.#problem(["server", key], `makes the control socket's path too long; ${right}`);
    }
    return socket;
  }

  #interfaces(one: string | undefined, several: readonly string[] | undefined): string[] {
    if (one !== undefined && several !== undefined) {
      this.#problem(["server", "interface"], "stands beside interfaces; keep one of the two");
    }
    const names = several ?? (one === undefined ? [] : [one]);
    for (const [index, name] of names.entries()) {
      if (names.indexOf(name) === index) continue;
      const place = ["server", "interfaces", index];
      this.#problem(place, `${JSON.stringify(name)} is listed twice; remove one of the two`);
    }
    const fromOptions = this.#options.interfaces ?? [];
    if (fromOptions.length > 0) return [...fromOptions];
    if (names.length === 0) {
      this.#problem(["server", "interface"], 'is missing; name one such as interface = "eth0"');
    }
    return [...names];
  }

  #targets(): TargetConfiguration[] {
    const added = this.#options.targets ?? [];
    const list = this.#document["target"] ?? [];
    if (!Array.isArray(list)) {
      this.#problem(["target"], `${describeValue(list)} is not a list; write [[target]]`);
      return [];
    }
    if (list.length + added.length === 0) {
      this.#problem(["target"], "is missing; add [[target]] with shelf, slot, backend and path");
    }
    const targets = [...list.map((table, index) => this.#target(table, index)), ...added];
    for (const { index, key, message } of targetConflicts(targets)) {
      this.#problem(index < list.length ? ["target", index, ...key.split(".")] : [], message);
    }
    return targets.filter((target) => target !== undefined);
  }

  #target(table: unknown, index: number): TargetConfiguration | undefined {
    const place: KeyPath = ["target", index];
    if (!isTable(table)) {
      this.#problem(place, `${describeValue(table)} is not a table; write [[target]]`);
      return undefined;
    }
    this.#unknownKeys(table, place, Object.keys(targetSchema.entries));
    this.#unknownCasKeys(table["cas"], [...place, "cas"]);
    const keys = this.#parse(targetSchema, table, place);
    if (keys === undefined) return undefined;
    this.#violations(targetRules(keys, new Set(Object.keys(table))), place);
    return toTargetConfiguration(keys, dirname(this.#path));
  }

  #unknownCasKeys(cas: unknown, place: KeyPath): void {
    if (!isTable(cas)) return;
    this.#unknownKeys(cas, place, Object.keys(casSchema.entries));
    for (const [name, { entries }] of Object.entries(casTables)) {
      const table = cas[name];
      if (isTable(table)) this.#unknownKeys(table, [...place, name], Object.keys(entries));
    }
  }

  #violations(violations: readonly RuleViolation[], table: KeyPath): void {
    for (const { key, message } of violations) {
      this.#problem([...table, ...key.split(".")], message);
    }
  }

  #parse<Schema extends typeof serverSchema | typeof targetSchema | typeof storeFileSchema>(
    schema: Schema,
    table: Table,
    place: KeyPath,
  ): v.InferOutput<Schema> | undefined {
    // A missing key is there as `undefined`, so that its own message says what is right.
    const input = Object.fromEntries(
      Object.keys(schema.entries).map((key) => [
        key,
        Object.hasOwn(table, key) ? table[key] : undefined,
      ]),
    );
    const result = v.safeParse(schema, input);
    if (result.success) return result.output;
    for (const issue of result.issues) {
      const keys = (issue.path ?? []).map((item) => item.key as string | number);
      this.#problem([...place, ...keys], issue.message);
    }
    return undefined;
  }

  #unknownKeys(table: Table, place: KeyPath, known: readonly string[]): void {
    for (const key of Object.keys(table)) {
      if (known.includes(key)) continue;
      const meant = nearest(key, known);
      const right =
        meant === undefined ? `use one of ${known.join(", ")}` : `did you mean ${meant}?`;
      this.#problem([...place, key], `is not a key of this version; ${right}`);
    }
  }

  #problem(place: KeyPath, message: string): void {
    this.#problems.push({ ...this.#positions.of(place), key: keyName(place), message });
  }
}

/** What the kernel takes in a socket address, with its final NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** ["target", 0, "cas", "path"] → "target[0].cas.path"; odd keys quoted. */
export function keyName(path: KeyPath): string {
  let name = "";
  for (const part of path) {
    if (typeof part === "number") name += `[${part}]`;
    else {
      const key = /^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part);
      name += name === "" ? key : `.${key}`;
    }
  }
  return name;
}
