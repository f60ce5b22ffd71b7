/** A fault while running, or a target or server that did not do its part. */
export const EXIT_FAULT = 1;
/** Usage, configuration, or something that cannot be opened. */
export const EXIT_USAGE = 2;
/** What a shell reports of a process that SIGINT ended. */
export const EXIT_INTERRUPTED = 130;
