import { existsSync, readdirSync, statSync } from "node:fs";
import { link, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { UsageError } from "../errors.ts";
import type { ClearRequest, ManagementApi } from "./control-api.ts";
import { ControlServer } from "./control-server.ts";

interface Answer {
  readonly status: number | undefined;
  readonly body: unknown;
}

async function ask(path: string, method: string, url: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: path, method, path: url }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: response.statusCode, body: JSON.parse(text) });
      });
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

describe("the control socket", () => {
  let directory: string;
  let path: string;
  let cleared: [number, number, ClearRequest][];
  let server: ControlServer | undefined;

  const api = {
    status: () => ({ version: "test" }),
    clear: async (shelf: number, slot: number, what: ClearRequest) => {
      if (shelf !== 1) throw new UsageError(`e${shelf}.${slot}: no such target`);
      cleared.push([shelf, slot, what]);
      return { configString: "", mask: [], reservation: [] };
    },
  } as unknown as ManagementApi;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "aoed-control-"));
    path = join(directory, "state", "control.sock");
    cleared = [];
  });
  afterEach(async () => {
    await server?.close();
    server = undefined;
    await rm(directory, { recursive: true });
  });

  test("answers, and belongs to its owner alone", async () => {
    server = await ControlServer.listen(path, api);
    server.begin();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await ask(path, "GET", "/v1/status")).toEqual({
      status: 200,
      body: { version: "test" },
    });
  });

  test("clears what is named and nothing else", async () => {
    server = await ControlServer.listen(path, api);
    server.begin();
    const answer = await ask(path, "POST", "/v1/targets/1.0/clear", '{"mask":true}');
    expect(answer.status).toBe(200);
    expect(cleared).toEqual([[1, 0, { configString: false, mask: true, reservation: false }]]);
  });

  test.each([
    ["POST", "/v1/targets/2.0/clear", "{}", 400, "no such target"],
    ["POST", "/v1/targets/1.0/clear", "{", 400, "not JSON"],
    ["POST", "/v1/targets/1.0/clear", "[]", 400, "not a JSON object"],
    ["POST", "/v1/targets/1.0/clear", '{"mask":1}', 400, "mask must be true or false"],
    ["POST", "/v1/targets/1.0/clear", '{"masks":true}', 400, "not a field of this request"],
    ["POST", "/v1/targets/1.256/clear", "{}", 400, "slot 256"],
    ["DELETE", "/v1/targets/x", undefined, 400, "not a target's address"],
    ["POST", "/v1/targets/1.0/clear", "x".repeat(70_000), 400, "too long"],
    ["GET", "/v1/nothing", undefined, 404, "no such operation"],
  ])("%s %s is refused with a reason", async (method, url, body, status, reason) => {
    server = await ControlServer.listen(path, api);
    server.begin();
    const answer = await ask(path, method, url, body);
    expect(answer.status).toBe(status);
    expect(JSON.stringify(answer.body)).toContain(reason);
    expect(cleared).toEqual([]);
  });

  test("a second server is refused, and the first goes on", async () => {
    server = await ControlServer.listen(path, api);
    server.begin();
    await expect(ControlServer.listen(path, api)).rejects.toThrow(/another aoed answers here/);
    expect((await ask(path, "GET", "/v1/status")).status).toBe(200);
  });

  test("what a killed server left is replaced; a file that is no socket is not", async () => {
    const abandoned = createServer();
    const left = join(directory, "left.sock");
    await new Promise<void>((resolve) => abandoned.listen(left, resolve));
    // Closing would remove the file: keep a second name of it.
    const kept = join(directory, "kept.sock");
    await link(left, kept);
    await new Promise((resolve) => abandoned.close(resolve));
    server = await ControlServer.listen(kept, api);
    server.begin();
    expect((await ask(kept, "GET", "/v1/status")).status).toBe(200);

    const file = join(directory, "precious");
    await writeFile(file, "data");
    await expect(ControlServer.listen(file, api)).rejects.toThrow(UsageError);
    expect(existsSync(file)).toBe(true);
  });

  test("has its mode from the moment it exists; whoever it is given to may enter its folder", async () => {
    const modes: number[] = [];
    const before = process.umask();
    const made = vi.spyOn(Server.prototype, "listen").mockImplementation(function (
      this: Server,
      ...words: unknown[]
    ) {
      made.mockRestore();
      this.listen(...(words as [string, () => void]));
      modes.push(statSync(path).mode & 0o777);
      return this;
    });
    server = await ControlServer.listen(path, api, { mode: 0o620, groupId: process.getgid?.() });
    expect(modes).toEqual([0o620]);
    expect((await stat(path)).mode & 0o777).toBe(0o620);
    expect(process.umask()).toBe(before);
    await server.close();

    const given = join(directory, "given", "control.sock");
    const access = { mode: 0o600, userId: process.getuid?.() };
    server = await ControlServer.listen(given, api, access);
    expect((await stat(join(directory, "given"))).mode & 0o777).toBe(0o711);
  });

  test("a start that is refused leaves none of the folders that it made", async () => {
    const deep = join(directory, "a", "b", "control.sock");
    const refused = await ControlServer.listen(deep, api);
    await refused.abandon();
    expect(readdirSync(directory)).toEqual([]);
  });

  test("a path that no socket can have is refused before anything is made", async () => {
    const long = join(directory, "x".repeat(100), "control.sock");
    await expect(ControlServer.listen(long, api)).rejects.toThrow(/at most 107 octets/);
    expect(existsSync(join(directory, "x".repeat(100)))).toBe(false);
  });
});
