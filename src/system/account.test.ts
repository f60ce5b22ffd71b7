import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { findAccount } from "./account.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aoed-account-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

test("finds the user that this process is, by name and by number", () => {
  const byNumber = findAccount(String(process.getuid?.()));
  expect(byNumber.userId).toBe(process.getuid?.());
  expect(byNumber.groupIds).toContain(byNumber.groupId);
  expect(findAccount(byNumber.name)).toEqual(byNumber);
  expect(() => findAccount("no such user")).toThrow(/there is no user "no such user"; make it/);
});

test("groups whose names have spaces are groups as well", () => {
  const program = join(folder, "id");
  writeFileSync(
    program,
    `#!/bin/sh
case $1 in
  -u) echo 1001 ;;
  -un) echo 'EXAMPLE\\jo' ;;
  -g) echo 2001 ;;
  -G) echo 2001 2002 2003 ;;
  *) echo 'uid=1001(EXAMPLE\\jo) gid=2001(domain users) groups=2001(domain users),2002(lab staff),2003(disk)' ;;
esac
`,
  );
  chmodSync(program, 0o755);
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env.PATH}`);
  expect(findAccount("jo")).toEqual({
    name: "EXAMPLE\\jo",
    userId: 1001,
    groupId: 2001,
    groupIds: [2001, 2002, 2003],
  });
});
