/** Prints as many free TCP ports of 127.0.0.1 as are asked for: bin/node scripts/free-port.ts 3 */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

const servers = Array.from({ length: Number(process.argv[2] ?? 1) }, () => createServer());
for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");
console.log(servers.map((server) => (server.address() as AddressInfo).port).join(" "));
for (const server of servers) server.close();
