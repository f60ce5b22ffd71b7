import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { expect, test } from "vitest";
import { type ServerPlace, withServerPlace } from "./serve-process.testing.ts";

let server: ServerPlace;

withServerPlace((given) => {
  server = given;
});

function configure(metrics: string): string {
  const path = server.place.path("aoed.toml");
  const text = `[server]
interface = "server0"
state_dir = "state"
${metrics}

[[target]]
shelf = 1
slot = 0
backend = "memory"
size = "1MiB"
`;
  writeFileSync(path, text);
  return path;
}

/** Over the Unix socket, which is the same file in every network namespace. */
async function ask(path: string): Promise<{ status: number; text: string }> {
  const socketPath = server.place.path("metrics.sock");
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, headers: { host: "localhost" } }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += String(chunk)));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

test("metrics: the endpoint of a real server, on a socket and on loopback", async () => {
  const socket = server.place.path("metrics.sock");
  const file = configure(`metrics = ["unix:${socket}", "127.0.0.1:9190"]`);
  const served = await server.serve("--config", file);
  await server.did("discover", "--interface", "client0");
  const metrics = await ask("/metrics");
  expect(metrics.text).toMatch(/^aoe_commands_total\{target="e1.0",command="config"\} [1-9]/m);
  expect(await ask("/readyz")).toMatchObject({ status: 200 });
  expect(await ask("/healthz")).toEqual({ status: 200, text: '{"status":"ok","problems":[]}\n' });
  const program = 'fetch("http://127.0.0.1:9190/healthz").then((r) => console.log(r.status))';
  expect(server.namespace.run(process.execPath, "-e", program)).toBe("200\n");

  const other = await server.aoed("serve", "--config", file);
  expect(other.code).toBe(2);

  server.namespace.run("ip", "link", "set", "client0", "down");
  while ((await ask("/healthz")).status === 200) await new Promise((done) => setTimeout(done, 20));
  expect((await ask("/healthz")).text).toContain('"subject":"server0"');
  server.namespace.run("ip", "link", "set", "client0", "up");
  expect(await server.stop(served, "SIGTERM")).toBe(0);
});

test("an address that is taken is one clear line, and nothing is made", async () => {
  const path = configure('metrics = "127.0.0.1:9190"\ncontrol_socket = "none"');
  const holder = `require("net").createServer().listen(9190, "127.0.0.1", () => console.log("held"))`;
  const [program, ...rest] = [...server.namespace.entrance, process.execPath, "-e", holder];
  const held = server.place.start(program, ...rest);
  await new Promise((resolve) => held.stdout?.once("data", resolve));
  const refused = await server.aoed("serve", "--config", path);
  held.kill();
  expect(refused.stderr).toContain(
    "aoed: metrics: 127.0.0.1:9190 cannot be listened on (EADDRINUSE); name another\n",
  );
  expect(refused.code).toBe(2);
  expect(server.place.contents()).toEqual(["aoed.toml"]);
});
