import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Namespace } from "./namespace.testing.ts";
import { ServerPlace } from "./serve-process.testing.ts";

let namespace: Namespace;
let server: ServerPlace;

beforeAll(async () => {
  namespace = await Namespace.create();
  server = new ServerPlace(namespace);
});
afterAll(async () => {
  await server.remove();
  await namespace.remove();
});

/** The words of every `aoed` line of a page, without comments. */
function commandsOf(page: string): string[][] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
  const lines = text.matchAll(/^ {4}aoed (.*?)(?: +#.*)?$/gm);
  return [...lines].map(([, line]) =>
    [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain),
  );
}

/** Commands that ask before they go on. */
function asks([noun, verb]: readonly string[]): boolean {
  return (noun === "snapshot" && verb === "rollback") || (noun === "volume" && verb === "delete");
}

test(
  "every command of docs/snapshots.md works as it is written",
  { timeout: 120_000 },
  async () => {
    const { place } = server;
    writeFileSync(place.path("disk.img"), Buffer.alloc(65536, "content"));
    const commands = commandsOf("snapshots.md");
    expect(commands.length).toBeGreaterThan(20);
    await server.serve("-i", "server0", "--state-dir", "aoed-data", "--size", "16MiB");
    for (let taken = 0; taken < 18; taken++) await server.did("snapshot", "create", "e1.0");
    for (const words of commands) {
      const here = words.map((word) =>
        word
          .replace("/data/aoe-store", place.path("aoed-data/store"))
          .replace("/backup/aoe-store", place.path("backup")),
      );
      if (asks(words)) {
        expect(await server.aoed(...here)).toMatchObject({ code: 2 });
        here.push("--yes");
      }
      const { code, stderr } = await server.aoed(...here);
      expect({ command: words.join(" "), code, stderr }).toMatchObject({ code: 0, stderr: "" });
    }
  },
);
