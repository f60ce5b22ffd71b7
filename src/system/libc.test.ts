import { closeSync, openSync } from "node:fs";
import { expect, test } from "vitest";
import { callLibc, errnoName, LibcType } from "./libc.ts";

test("returns what the function returned", () => {
  expect(callLibc("getpid")).toBe(process.pid);
});

test("passes integers, long integers, strings and memory", () => {
  expect(callLibc("access", [LibcType.string, "/"], [LibcType.int, 0])).toBe(0);
  const name = Buffer.alloc(64);
  expect(callLibc("gethostname", [LibcType.buffer, name], [LibcType.long, name.length])).toBe(0);
  expect(name.indexOf(0)).toBeGreaterThan(0);
});

test("turns a failure into the negative errno", () => {
  const result = callLibc("flock", [LibcType.int, -1], [LibcType.int, 2]);
  expect(errnoName(result)).toBe("EBADF");
  const directory = openSync("/", "r");
  const long = callLibc("ftruncate", [LibcType.int, directory], [LibcType.long, 2 ** 40]);
  closeSync(directory);
  expect(errnoName(long)).toBe("EINVAL");
});

test("names errors that Node does not know by their number", () => {
  expect(errnoName(-4000)).toBe("errno 4000");
});
