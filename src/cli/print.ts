/** Writes what a command answers: JSON when it was asked for, else the text. */
export function printAnswer(
  options: { readonly json?: true },
  answer: unknown,
  text: () => string,
): void {
  process.stdout.write(options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : text());
}
