import type { StoreHint } from "./control-api.ts";
import { Fields } from "./fields.ts";
import { Job, type Route } from "./router.ts";
import type { JobName, Jobs } from "./store-api.ts";
import { storeOf } from "./store-routes.ts";

/** How a job's request is read, and which store it means. */
interface JobReader<Name extends JobName> {
  readonly known: readonly string[];
  readonly read: (fields: Fields) => Jobs[Name]["request"];
  readonly hint: (request: Jobs[Name]["request"]) => StoreHint;
}

/** Work that takes a while; the answer is a stream. */
export const jobRoutes: readonly Route[] = [
  jobRoute("gc", { known: [], read: () => ({}), hint: () => ({}) }),
  jobRoute("space", { known: [], read: () => ({}), hint: () => ({}) }),
  jobRoute("verify", {
    known: ["snapshot", "bytesPerSecond"],
    read: (fields) => ({
      snapshot: fields.text("snapshot"),
      bytesPerSecond: fields.optionalNumber("bytesPerSecond"),
    }),
    hint: ({ snapshot }) => ({ snapshot }),
  }),
  jobRoute("scrub", {
    known: ["bytesPerSecond"],
    read: (fields) => ({ bytesPerSecond: fields.optionalNumber("bytesPerSecond") }),
    hint: () => ({}),
  }),
  jobRoute("import", {
    known: ["path", "volume", "blockBytes"],
    read: (fields) => ({
      path: fields.text("path"),
      volume: fields.text("volume"),
      blockBytes: fields.optionalNumber("blockBytes"),
    }),
    hint: () => ({}),
  }),
  jobRoute("export", {
    known: ["path", "snapshot", "volume", "overwrite"],
    read: (fields) => ({
      path: fields.text("path"),
      snapshot: fields.optionalText("snapshot"),
      volume: fields.optionalText("volume"),
      overwrite: fields.optionalFlag("overwrite"),
    }),
    hint: ({ snapshot, volume }) => ({ snapshot, volume }),
  }),
  jobRoute("send", {
    known: ["snapshot", "to", "volume"],
    read: (fields) => ({
      snapshot: fields.text("snapshot"),
      to: fields.text("to"),
      volume: fields.optionalText("volume"),
    }),
    hint: ({ snapshot }) => ({ snapshot }),
  }),
  jobRoute("receive", {
    known: ["snapshot", "from", "volume"],
    read: (fields) => ({
      snapshot: fields.text("snapshot"),
      from: fields.text("from"),
      volume: fields.optionalText("volume"),
    }),
    hint: () => ({}),
  }),
];

function jobRoute<Name extends JobName>(name: Name, reader: JobReader<Name>): Route {
  return {
    method: "POST",
    path: `/v1/jobs/${name}`,
    handle: async (api, request) => {
      const wanted = reader.read(new Fields(request.body, reader.known));
      const store = await storeOf(api, request, reader.hint(wanted));
      return new Job(async (control) => store.run(name, wanted, control));
    },
  };
}
