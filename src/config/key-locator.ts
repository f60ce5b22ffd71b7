/**
 * Where each key of a TOML document stands. The TOML parser gives positions for syntax errors
 * only; this scanner reads a document that the parser has accepted, so it may trust its syntax.
 */

/** Keys and array indices from the root: ["target", 0, "shelf"]. */
export type KeyPath = readonly (string | number)[];

/** Both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface KeyPositions {
  /** Of the key itself; of the closest enclosing table when the document does not have the key. */
  of(path: KeyPath): Position;
}

export function locateKeys(text: string): KeyPositions {
  const offsets = new Scanner(text).scan();
  return {
    of(path) {
      for (let length = path.length; length > 0; length--) {
        const offset = offsets.get(JSON.stringify(path.slice(0, length)));
        if (offset !== undefined) return positionAt(text, offset);
      }
      return { line: 1, column: 1 };
    },
  };
}

/** Where the text of a value begins and ends. */
export interface TextSpan {
  readonly start: number;
  readonly end: number;
}

/** Where the parts of a document stand, as offsets in its text, for whoever edits it. */
export interface DocumentParts {
  /** Of "[a]" and "[[b]]", in the order of the document; an array's element has its index. */
  readonly headers: readonly { readonly path: KeyPath; readonly start: number }[];
  /** Of each key that has a value, by `JSON.stringify` of its path. */
  readonly values: ReadonlyMap<string, TextSpan & { readonly keyStart: number }>;
}

export function locateParts(text: string): DocumentParts {
  const scanner = new Scanner(text);
  scanner.scan();
  return scanner;
}

function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - lineStart + 1 };
}

class Scanner {
  readonly headers: { readonly path: KeyPath; readonly start: number }[] = [];
  readonly values = new Map<string, TextSpan & { readonly keyStart: number }>();
  readonly #text: string;
  #at = 0;
  readonly #offsets = new Map<string, number>();
  /** How many elements each array of tables has so far, by its path. */
  readonly #tableCounts = new Map<string, number>();

  constructor(text: string) {
    this.#text = text;
  }

  scan(): Map<string, number> {
    let table: (string | number)[] = [];
    for (;;) {
      this.#skip(/[\s\uFEFF]*(?:#[^\n]*\s*)*/y);
      if (this.#at >= this.#text.length) return this.#offsets;
      const start = this.#at;
      if (this.#peek("[")) {
        table = this.#peek("[[") ? this.#arrayOfTablesHeader() : this.#tableHeader();
        this.headers.push({ path: table, start });
      } else {
        this.#keyAndValue(table);
      }
      if (this.#at === start) throw new Error(`no TOML at offset ${start}: the parser accepted it`);
    }
  }

  #tableHeader(): (string | number)[] {
    this.#at += 1;
    const path = this.#keyPath([]);
    this.#at += 1;
    return path;
  }

  #arrayOfTablesHeader(): (string | number)[] {
    const start = this.#at;
    this.#at += 2;
    const path = this.#keyPath([], true);
    this.#at += 2;
    const index = this.#tableCounts.get(JSON.stringify(path)) ?? 0;
    this.#tableCounts.set(JSON.stringify(path), index + 1);
    path.push(index);
    this.#note(path, start);
    return path;
  }

  #keyAndValue(table: KeyPath): void {
    const keyStart = this.#at;
    const path = this.#keyPath(table);
    this.#skip(/[\s]*=[\s]*/y);
    const start = this.#at;
    this.#value(path);
    const end = start + this.#text.slice(start, this.#at).trimEnd().length;
    this.values.set(JSON.stringify(path), { keyStart, start, end });
  }

  /**
   * Reads "a.b.'c'" below `table` and notes where each part stands. A part that names an array of
   * tables means its last element, unless it ends the header that is about to add one.
   */
  #keyPath(table: KeyPath, endsArrayHeader = false): (string | number)[] {
    const path = [...table];
    for (;;) {
      this.#skip(/[ \t]*/y);
      const start = this.#at;
      path.push(this.#key());
      this.#note(path, start);
      this.#skip(/[ \t]*/y);
      const more = this.#peek(".");
      const count = this.#tableCounts.get(JSON.stringify(path));
      if (count !== undefined && (more || !endsArrayHeader)) path.push(count - 1);
      if (!more) return path;
      this.#at += 1;
    }
  }

  #key(): string {
    const start = this.#at;
    if (this.#peek('"')) {
      this.#skip(BASIC_STRING);
      return unescapeBasicString(this.#text.slice(start + 1, this.#at - 1));
    }
    if (this.#peek("'")) {
      this.#skip(LITERAL_STRING);
      return this.#text.slice(start + 1, this.#at - 1);
    }
    this.#skip(/[^\s.=\]]+/y);
    return this.#text.slice(start, this.#at);
  }

  #value(path: KeyPath): void {
    if (this.#peek("[")) this.#array(path);
    else if (this.#peek("{")) this.#inlineTable(path);
    else if (this.#peek('"""')) this.#skip(/"""(?:\\[^]|[^\\])*?"{3,5}(?!")/y);
    else if (this.#peek("'''")) this.#skip(/'''[^]*?'{3,5}(?!')/y);
    else if (this.#peek('"')) this.#skip(BASIC_STRING);
    else if (this.#peek("'")) this.#skip(LITERAL_STRING);
    else this.#skip(/[^,\]}#\n]*/y);
  }

  #array(path: KeyPath): void {
    this.#at += 1;
    for (let index = 0; ; index++) {
      this.#skipToNextItem();
      if (this.#at >= this.#text.length) return;
      if (this.#peek("]")) break;
      const element = [...path, index];
      this.#note(element, this.#at);
      this.#value(element);
    }
    this.#at += 1;
  }

  #inlineTable(path: KeyPath): void {
    this.#at += 1;
    for (;;) {
      this.#skipToNextItem();
      if (this.#at >= this.#text.length) return;
      if (this.#peek("}")) break;
      this.#keyAndValue(path);
    }
    this.#at += 1;
  }

  #skipToNextItem(): void {
    this.#skip(/(?:[\s,]|#[^\n]*)*/y);
  }

  #note(path: KeyPath, offset: number): void {
    const name = JSON.stringify(path);
    if (!this.#offsets.has(name)) this.#offsets.set(name, offset);
  }

  #peek(start: string): boolean {
    return this.#text.startsWith(start, this.#at);
  }

  #skip(sticky: RegExp): void {
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.#text);
    if (match !== null) this.#at += match[0].length;
  }
}

const BASIC_STRING = /"(?:\\.|[^"\\])*"/y;
const LITERAL_STRING = /'[^']*'/y;

const ESCAPES: Record<string, string> = {
  b: "\b",
  t: "\t",
  n: "\n",
  f: "\f",
  r: "\r",
  e: "\u001B",
};

function unescapeBasicString(body: string): string {
  return body.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/g,
    (_, two?: string, four?: string, eight?: string, single = "") => {
      const hexadecimal = two ?? four ?? eight;
      if (hexadecimal !== undefined) return String.fromCodePoint(Number.parseInt(hexadecimal, 16));
      return ESCAPES[single] ?? single;
    },
  );
}
