// CSV files, converted to NDJSON: consecutive rows with the same time stamp and labels are one sample.
//
// The first row has the names of the columns. `time_stamp` is the time of the sample, `label.site` is the label `site`,
// and the cells of all other columns with a name are values. An empty cell or NaN is a missing value. The page sends the
// digits of each number unchanged. A sample with an invalid row is not sent: after the user has corrected the row, the
// sample would be another one, and both would be stored. `csv_samples` of the Python client reads files in the same way.

const NUMBER = /^([+-]?)(?=\.?\d)0*(\d*)(?:\.(\d*))?(e[+-]?\d+)?$/i;
const NAN = /^[+-]?nan$/i;
const TIME = 'time_stamp';
const LABEL = 'label.';

export class CsvError extends Error {}

/** An invalid row, or the valid rows of a sample that it can belong to. The page does not send them. */
export interface BadRow {
  line: number; // the number of its first line
  message: string;
}

interface Row {
  line: number; // the number of its first line
  cells: string[];
}

interface Sample {
  line: number; // of its first valid row, or 0 if it has none
  head: string | null; // the members `time_stamp` and `labels` as JSON; null while its rows can belong to any sample
  data: string[];
  invalidLine: number; // of its first invalid row, or 0 if it has none
}

/** Returns NDJSON, in which a sample has the number of the first line of its first row, and the bad rows. Throws `CsvError`. */
export function toNdjson(text: string): { ndjson: string; badRows: BadRow[] } {
  const [first, ...rows] = rowsOf(text.replace(/^\uFEFF/, ''));
  const names = first?.cells.map((name) => name.trim()) ?? [];
  if (!names.includes(TIME)) throw new CsvError(`expected columns separated by commas, one of them with the name ${TIME}`);
  for (const name of names.filter((name) => name === TIME || name.startsWith(LABEL))) {
    const count = names.filter((other) => other === name).length;
    if (count > 1) throw new CsvError(`expected the column ${name} once, got it ${count} times`);
  }
  const samples: Sample[] = [];
  const badRows: BadRow[] = [];
  for (const row of rows) {
    const sample = toSample(names, row, badRows);
    const last = samples.at(-1);
    if (last && sample.head === null) last.invalidLine ||= row.line;
    if (last && (last.head ?? sample.head) === sample.head) add(sample, last);
    else samples.push(sample);
  }
  const lines: string[] = [];
  for (const { line, head, data, invalidLine } of samples) {
    if (invalidLine > 0) {
      if (data.length > 0) badRows.push({ line, message: `this sample may lack values, because line ${invalidLine} is invalid` });
      continue;
    }
    while (lines.length < line - 1) lines.push('');
    lines.push(`{${head},"data":[${data.join(',')}]${data.includes('null') ? ',"missing":"skip"' : ''}}`);
  }
  return { ndjson: lines.join('\n'), badRows: badRows.sort((one, other) => one.line - other.line) };
}

/** Adds a row to the rows before. */
function add(row: Sample, before: Sample): void {
  before.head = row.head;
  before.line ||= row.line;
  before.invalidLine ||= row.invalidLine;
  for (const value of row.data) before.data.push(value);
}

/** Returns the row as a sample. Adds it to `badRows` if it is invalid. */
function toSample(names: readonly string[], { line, cells }: Row, badRows: BadRow[]): Sample {
  const head = headOf(names, cells);
  try {
    return { line, head, data: valuesOf(names, cells), invalidLine: 0 };
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    badRows.push({ line, message: error.message });
    return { line: 0, head, data: [], invalidLine: line };
  }
}

/** Returns null if the row has too many or too few cells, because it is not known which column has which cell. */
function headOf(names: readonly string[], cells: readonly string[]): string | null {
  if (cells.length !== names.length) return null;
  const labels = new Map<string, string>();
  names.forEach((name, index) => {
    const cell = cells[index] as string;
    if (name.startsWith(LABEL) && cell !== '') labels.set(name.slice(LABEL.length), cell);
  });
  const sorted = [...labels].sort(([one], [other]) => (one < other ? -1 : 1));
  const members = labels.size ? `,"labels":${JSON.stringify(Object.fromEntries(sorted))}` : '';
  return `"time_stamp":${JSON.stringify(cells[names.indexOf(TIME)])}${members}`;
}

/** Throws `CsvError` if the row is invalid. */
function valuesOf(names: readonly string[], cells: readonly string[]): string[] {
  if (cells.length !== names.length) throw new CsvError(`expected ${names.length} cells, got ${cells.length}`);
  return names.flatMap((name, index) => {
    const cell = cells[index] as string;
    if (name === '' && cell.trim() !== '') {
      throw new CsvError(
        `expected an empty cell, got ${JSON.stringify(cell)} in a column without a name; ` +
          'pandas writes its index into a column without a name; write the file with index=False',
      );
    }
    return name === '' || name === TIME || name.startsWith(LABEL) ? [] : [toValue(name, cell)];
  });
}

/** Returns a number in the notation of JSON. */
function toValue(name: string, cell: string): string {
  const text = cell.trim();
  if (text === '' || NAN.test(text)) return 'null';
  const match = NUMBER.exec(text);
  if (!match || !Number.isFinite(Number(text))) {
    throw new CsvError(`expected a number, got ${JSON.stringify(cell)} in column ${name}`);
  }
  const [, sign, whole, fraction = '', exponent = ''] = match;
  return `${sign === '-' ? '-' : ''}${whole || '0'}${fraction && `.${fraction}`}${exponent}`;
}

/** Returns the rows that have a cell with more than spaces. A cell in quotes can contain commas, line breaks, and two quotes for a quote. */
function rowsOf(text: string): Row[] {
  const token = /"([^"]*(?:""[^"]*)*)"|([^,\r\n]*)/y;
  const end = /\r\n|\r|\n|$/y;
  const rows: Row[] = [];
  let [line, at] = [1, 0];
  let row: Row = { line, cells: [] };
  while (at < text.length || row.cells.length > 0) {
    token.lastIndex = at;
    const [raw, quoted, plain = ''] = token.exec(text) as RegExpExecArray;
    if (quoted === undefined && plain.startsWith('"')) throw new CsvError(`expected a quote at the end of the cell on line ${line}`);
    row.cells.push(quoted?.replaceAll('""', '"') ?? plain);
    line += (raw.match(/\r\n|\r|\n/g) ?? []).length;
    at += raw.length;
    if (text[at] === ',') {
      at += 1;
      continue;
    }
    end.lastIndex = at;
    const [lineEnd] = end.exec(text) ?? [];
    if (lineEnd === undefined) throw new CsvError(`expected a comma after the quote on line ${line}`);
    at += lineEnd.length;
    if (row.cells.some((cell) => cell.trim() !== '')) rows.push(row);
    line += 1;
    row = { line, cells: [] };
  }
  return rows;
}
