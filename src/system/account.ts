import { execFileSync } from "node:child_process";
import { userInfo } from "node:os";
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
  // One question each: in the answer to all at once, names with spaces are in the way.
  const [userId, groupId, groupIds] = ["-u", "-g", "-G"].map((what) =>
    ask("id", [what, "--", name]),
  );
  if (userId === undefined || groupId === undefined || groupIds === undefined) {
    throw new UsageError(
      `there is no user ${JSON.stringify(name)}; make it with: ` +
        `useradd --system --no-create-home --shell /usr/sbin/nologin ${name}`,
    );
  }
  return {
    name: ask("id", ["-un", "--", name])?.trim() ?? name,
    userId: Number(userId),
    groupId: Number(groupId),
    groupIds: groupIds.trim().split(" ").map(Number),
  };
}

/** @throws UsageError when there is no such group */
export function findGroupId(name: string): number {
  const match = /^[^:]*:[^:]*:(\d+):/.exec(ask("getent", ["group", name]) ?? "");
  if (match !== null) return Number(match[1]);
  throw new UsageError(
    `there is no group ${JSON.stringify(name)}; make it with: groupadd --system ${name}`,
  );
}

/** The name of the user whose rights this process has, for messages. */
export function ownUserName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.geteuid?.()); // one without an entry, as in a container
  }
}

function ask(program: string, words: string[]): string | undefined {
  try {
    return execFileSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
}
