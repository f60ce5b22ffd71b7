import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";

/** Removes the socket of a killed server, and nothing that is not a socket. */
export async function removeAbandoned(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() === true) await unlink(path);
}

/** Whether a server listens there. */
export async function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
