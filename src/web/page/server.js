/** What the page knows of the server, and how it asks. */

const ANSWER_MS = 4000;

export const state = {
  overview: undefined,
  samples: [],
  snapshots: [],
  snapshotsError: undefined,
  polls: 0,
  failures: 0,
  lastAnswerMs: undefined,
  /** The server since its start: its samples are numbered anew after a restart. */
  instance: undefined,
};

export async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(ANSWER_MS) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `the server refused (${response.status})`);
  return answer;
}

/** Asks for something to be changed; the token shows that it was this page. */
export function change(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-aoed-token": state.overview?.token ?? "" },
    body: JSON.stringify(body),
    // Rolling back waits for a checkpoint.
    signal: undefined,
  });
}
