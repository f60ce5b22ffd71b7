import { access, constants } from "node:fs/promises";
import type { ServerConfiguration } from "../config/configuration.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import { shim } from "../native/shim.ts";
import { type Account, findAccount } from "../system/account.ts";
import { errnoName } from "../system/libc.ts";
import { MadeFolders } from "../system/made-folders.ts";

/**
 * What a server gives up once it has opened interfaces, devices and the control socket
 * (docs/adr/0024-privileges.md). Afterwards every thread is the user's, in the user's groups, has no
 * capability, and can gain none. Nothing that a server does later needs one: a raw socket is bound to
 * an interface that comes back, targets are added as far as the user may open them.
 */
export class Privileges {
  readonly #account: Account;
  #folders: MadeFolders | undefined;

  private constructor(account: Account) {
    this.#account = account;
  }

  /**
   * @returns undefined when the configuration names no user: the server stays what it is
   * @throws UsageError when it cannot become that user
   */
  static of({ user }: ServerConfiguration): Privileges | undefined {
    if (user === undefined) return undefined;
    const account = findAccount(user);
    const current = process.geteuid?.();
    if (current !== 0 && current !== account.userId) {
      throw new UsageError(
        `server.user: only root becomes ${account.name}; start aoed as root or as ${account.name}, ` +
          "or remove the key",
      );
    }
    return new Privileges(account);
  }

  /** Makes the state directory for the user, with what is missing above it. @throws UsageError */
  async prepare({ stateDirectory }: ServerConfiguration): Promise<void> {
    if (process.geteuid?.() !== 0) return;
    try {
      this.#folders = await MadeFolders.make(stateDirectory, 0o700);
      await this.#folders.give(this.#account.userId, this.#account.groupId);
    } catch (error) {
      const code = systemErrorCode(error) ?? "unknown error";
      throw new UsageError(`${stateDirectory}: the state directory cannot be made (${code})`, {
        cause: error,
      });
    }
  }

  /** Ends a start that was refused: what `prepare` made goes, as far as the user may remove it. */
  async abandon(): Promise<void> {
    await this.#folders?.remove();
  }

  /** @throws UsageError when the user could not work with what it finds */
  async drop({ stateDirectory }: ServerConfiguration, log: Log): Promise<void> {
    const { name, userId, groupId, groupIds } = this.#account;
    if (process.geteuid?.() === 0 && userId !== 0) {
      // libc changes these in every thread.
      process.setgroups?.([...groupIds]);
      process.setgid?.(groupId);
      process.setuid?.(userId);
    }
    const result = shim.dropCapabilities();
    if (result !== 0) {
      throw new UsageError(
        `server.user: the capabilities could not be dropped (${errnoName(result)}); ` +
          "start aoed by bin/aoed, which turns off the thread that blocks signals, or remove the key",
      );
    }
    await this.#refuseUnusable(stateDirectory);
    log.info({ user: name, userId, groupIds }, "runs without privileges from here on");
  }

  async #refuseUnusable(stateDirectory: string): Promise<void> {
    try {
      await access(stateDirectory, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (error) {
      const code = systemErrorCode(error);
      const { name } = this.#account;
      const remedy =
        code === "ENOENT"
          ? `make it: install -d -o ${name} -m 700 ${stateDirectory}`
          : `give it to that user: chown -R ${name}: ${stateDirectory}`;
      throw new UsageError(
        `${stateDirectory}: ${name}, whom the server becomes, cannot keep state there (${code}); ${remedy}`,
        { cause: error },
      );
    }
  }
}
