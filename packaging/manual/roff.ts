/** Pieces of a man page, in the macros of man(7). */

/** Text in which nothing is taken for an instruction or a special character. */
export function plain(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti")
    .replaceAll("`", "\\(ga")
    .replaceAll("'", "\\(aq");
}

/** One line of text; a dot or a quote at its beginning would be an instruction. */
export function line(formatted: string): string {
  return /^[.']/.test(formatted) ? `\\&${formatted}` : formatted;
}

export function bold(text: string): string {
  return `\\fB${plain(text)}\\fR`;
}

export function italic(text: string): string {
  return `\\fI${plain(text)}\\fR`;
}

export function section(title: string): string[] {
  return [
    `.SH ${plain(title)
      .toUpperCase()
      .replaceAll(/\\\((..)/gi, (mark) => mark.toLowerCase())}`,
  ];
}

export function subsection(title: string): string[] {
  return [`.SS ${plain(title)}`];
}

export function paragraph(formatted: string): string[] {
  return [".PP", ...formatted.split("\n").map((text) => line(text.trim()))];
}

/** A tag, and what it means, indented below. */
export function tagged(tag: string, formatted: readonly string[]): string[] {
  return [".TP", line(tag), ...formatted.map(line)];
}

/** Lines that keep their breaks: commands, files. */
export function literal(text: string): string[] {
  const lines = text.split("\n").map((row) => (row === "" ? "\\&" : line(plain(row))));
  return [".PP", ".in +4n", ".EX", ...lines, ".EE", ".in"];
}

/** Without the paragraphs that begin where a section has just begun one. */
export function withoutEmptyParagraphs(lines: readonly string[]): string[] {
  return lines.filter(
    (text, index) => text !== ".PP" || !/^\.(SH|SS|PP)\b/.test(lines[index - 1] ?? ""),
  );
}
