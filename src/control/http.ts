/**
 * node:http without the rest of its names. An import statement reads each of them, and that of
 * WebSocket loads a whole further client: an eighth of the time until a server answers.
 */
export const { createServer, request } = process.getBuiltinModule("node:http");
