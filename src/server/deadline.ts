/**
 * Waits for work that may hang, as that of a dead disk does, but no longer than `timeoutMs`; the
 * work itself goes on.
 * @throws what the work throws, or Error with `message` when it is not done in time
 */
export async function beforeDeadline<T>(
  work: Promise<T>,
  timeoutMs: number,
  message: string,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(message)), timeoutMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
