import { readFileSync } from "node:fs";

const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
} as const;

export interface Asset {
  readonly contentType: string;
  readonly bytes: Buffer;
}

/** The files of the page by their path; nothing else of the disk is served. */
export function loadAssets(): ReadonlyMap<string, Asset> {
  const scripts = ["page.js", "server.js", "tables.js", "snapshots.js", "chart.js", "format.js"];
  const names = ["index.html", "page.css", "icon.svg", ...scripts];
  return new Map(
    names.map((name) => {
      const extension = name.slice(name.lastIndexOf(".") + 1) as keyof typeof TYPES;
      const bytes = readFileSync(new URL(`page/${name}`, import.meta.url));
      return [name === "index.html" ? "/" : `/${name}`, { contentType: TYPES[extension], bytes }];
    }),
  );
}
