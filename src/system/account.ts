import { execFileSync } from "node:child_process";
import { UsageError } from "../errors.ts";

/** A user of this machine, with the groups that it is in. */
export interface Account {
  readonly name: string;
  readonly userId: number;
  readonly groupId: number;
  /** All of its groups, the first one included. */
  readonly groupIds: readonly number[];
}

/**
 * Looks a user up wherever this machine keeps them (files, LDAP, systemd), by the tool for it.
 * @param name a name, or a number
 * @throws UsageError when there is none
 */
export function findAccount(name: string): Account {
  const answer = ask("id", ["--", name]);
  const match = /^uid=(\d+)(?:\(([^)]*)\))? gid=(\d+)\S*(?: groups=(\S+))?/.exec(answer ?? "");
  if (match === null) {
    throw new UsageError(
      `there is no user ${JSON.stringify(name)}; make it with: ` +
        `useradd --system --no-create-home --shell /usr/sbin/nologin ${name}`,
    );
  }
  const [, userId, realName = name, groupId, groups = ""] = match;
  const groupIds = [...groups.matchAll(/(?:^|,)(\d+)/g)].map(([, id]) => Number(id));
  return { name: realName, userId: Number(userId), groupId: Number(groupId), groupIds };
}

/** @throws UsageError when there is no such group */
export function findGroupId(name: string): number {
  const match = /^[^:]*:[^:]*:(\d+):/.exec(ask("getent", ["group", name]) ?? "");
  if (match !== null) return Number(match[1]);
  throw new UsageError(
    `there is no group ${JSON.stringify(name)}; make it with: groupadd --system ${name}`,
  );
}

function ask(program: string, words: string[]): string | undefined {
  try {
    return execFileSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
}
