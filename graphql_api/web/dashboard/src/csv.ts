// CSV files, converted to NDJSON: consecutive rows with the same time stamp and labels are one sample.
//
// The first row has the names of the columns. `time_stamp` is the time of the sample, `label.site` is the label `site`,
// and the cells of all other columns are values. An empty cell or NaN is a missing value. The page sends the digits of
// each number unchanged. `csv_samples` of the Python client reads files in the same way.

const NUMBER = /^([+-]?)(?=\.?\d)0*(\d*)(?:\.(\d*))?(e[+-]?\d+)?$/i;
const NAN = /^[+-]?nan$/i;
const TIME = 'time_stamp';
const LABEL = 'label.';

export class CsvError extends Error {}

/** A row that is not part of a sample. The page does not send it. */
export interface BadRow {
  line: number;
  message: string;
}

interface Row {
  line: number; // the number of its first line
  cells: string[];
}

interface Sample {
  line: number;
  head: string; // the members `time_stamp` and `labels` as JSON
  data: string[];
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
    try {
      const sample = toSample(names, row);
      const last = samples.at(-1);
      if (last?.head === sample.head) for (const value of sample.data) last.data.push(value);
      else samples.push(sample);
    } catch (error) {
      if (!(error instanceof CsvError)) throw error;
      badRows.push({ line: row.line, message: error.message });
    }
  }
  const lines: string[] = [];
  for (const { line, head, data } of samples) {
    while (lines.length < line - 1) lines.push('');
    lines.push(`{${head},"data":[${data.join(',')}]${data.includes('null') ? ',"missing":"skip"' : ''}}`);
  }
  return { ndjson: lines.join('\n'), badRows };
}

function toSample(names: readonly string[], { line, cells }: Row): Sample {
  if (cells.length !== names.length) throw new CsvError(`expected ${names.length} cells, got ${cells.length}`);
  let time = '';
  const labels = new Map<string, string>();
  const data: string[] = [];
  names.forEach((name, index) => {
    const cell = cells[index] as string;
    if (name === TIME) time = cell;
    else if (!name.startsWith(LABEL)) data.push(toValue(name, cell));
    else if (cell !== '') labels.set(name.slice(LABEL.length), cell);
  });
  const sorted = [...labels].sort(([one], [other]) => (one < other ? -1 : 1));
  const members = labels.size ? `,"labels":${JSON.stringify(Object.fromEntries(sorted))}` : '';
  return { line, head: `"time_stamp":${JSON.stringify(time)}${members}`, data };
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

/** Returns the rows that have a cell with a text. A cell in quotes can contain commas, line breaks, and two quotes for a quote. */
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
    if (row.cells.some((cell) => cell !== '')) rows.push(row);
    line += 1;
    row = { line, cells: [] };
  }
  return rows;
}
