// CSV files, converted to NDJSON: consecutive rows with the same time stamp and labels are one sample.
//
// The first row has the names of the columns. `time_stamp` is the time of the sample, `label.site` is the label `site`,
// and the cells of all other columns with a name are values. An empty cell or NaN is a missing value. The page sends the
// digits of each number unchanged. A sample with an invalid row is not sent: after the user has corrected the row, the
// sample would be another one, and both would be stored. `csv_samples` of the Python client reads files in the same way.
//
// A file is read in pieces. The page responds to the user between two pieces.

const NUMBER = /^([+-]?)(?=\.?\d)0*(\d*)(?:\.(\d*))?(e[+-]?\d+)?$/i;
const CELL = /"([^"]*(?:""[^"]*)*)"|([^,\r\n]*)/y;
const NAN = /^[+-]?nan$/i;
const TIME = 'time_stamp';
const LABEL = 'label.';
const PIECE_BYTES = 128 * 1024;

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

/**
 * Returns NDJSON, in which a sample has the number of the first line of its first row, and the bad rows.
 * Calls `onRead` with the number of bytes that are read. Throws `CsvError`, or the reason of `stop` if it is aborted.
 */
export async function toNdjson(
  file: Blob,
  onRead: (bytes: number) => void,
  stop: AbortSignal,
): Promise<{ ndjson: Blob; badRows: BadRow[] }> {
  const decoder = new TextDecoder('utf-8', { fatal: true }); // `Blob.text` would replace bytes that are not UTF-8
  const [rows, samples] = [new Rows(), new Samples()];
  const lines: Blob[] = []; // the browser can keep blobs outside of the memory of the page
  for (let start = 0; start < file.size; start += PIECE_BYTES) {
    stop.throwIfAborted();
    const isLast = start + PIECE_BYTES >= file.size;
    const piece = await file.slice(start, start + PIECE_BYTES).arrayBuffer();
    lines.push(new Blob([samples.add(rows.read(decode(decoder, piece, !isLast), isLast))]));
    onRead(Math.min(start + PIECE_BYTES, file.size));
  }
  lines.push(new Blob([samples.end()]));
  return { ndjson: new Blob(lines), badRows: samples.badRows.sort((one, other) => one.line - other.line) };
}

function decode(decoder: TextDecoder, bytes: ArrayBuffer, stream: boolean): string {
  try {
    return decoder.decode(bytes, { stream });
  } catch {
    throw new CsvError('expected text in UTF-8');
  }
}

/** The samples of consecutive rows, as NDJSON. */
class Samples {
  readonly badRows: BadRow[] = [];
  #names: readonly string[] | null = null;
  #last: Sample | null = null; // the next rows can belong to it
  #line = 1; // at the end of the NDJSON

  /** Returns the samples that no further row can belong to. */
  add(rows: readonly Row[]): string {
    let ndjson = '';
    for (const row of rows) {
      if (!this.#names) {
        this.#names = namesOf(row);
        continue;
      }
      const sample = toSample(this.#names, row, this.badRows);
      const last = this.#last;
      if (last && sample.head === null) last.invalidLine ||= row.line;
      if (last && (last.head ?? sample.head) === sample.head) {
        join(sample, last);
      } else {
        ndjson += this.#finish();
        this.#last = sample;
      }
    }
    return ndjson;
  }

  /** Returns the last sample. */
  end(): string {
    if (!this.#names) throw noTimeStamp();
    return this.#finish();
  }

  #finish(): string {
    if (!this.#last) return '';
    const { line, head, data, invalidLine } = this.#last;
    if (invalidLine > 0) {
      if (data.length > 0) this.badRows.push({ line, message: `this sample may lack values, because line ${invalidLine} is invalid` });
      return '';
    }
    const lineEnds = '\n'.repeat(line - this.#line);
    this.#line = line;
    return `${lineEnds}{${head},"data":[${data.join(',')}]${data.includes('null') ? ',"missing":"skip"' : ''}}`;
  }
}

const noTimeStamp = () => new CsvError(`expected columns separated by commas, one of them with the name ${TIME}`);

/** Returns the names of the columns. */
function namesOf({ cells }: Row): string[] {
  const names = cells.map((name) => name.trim());
  if (!names.includes(TIME)) throw noTimeStamp();
  for (const name of names.filter((name) => name === TIME || name.startsWith(LABEL))) {
    const count = names.filter((other) => other === name).length;
    if (count > 1) throw new CsvError(`expected the column ${name} once, got it ${count} times`);
  }
  return names;
}

/** Adds a row to the rows before. */
function join(row: Sample, before: Sample): void {
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

/** Splits text into rows. A cell in quotes can contain commas, line breaks, and two quotes for a quote. */
class Rows {
  #rest = ''; // the start of a cell
  #minLength = 0; // of the rest before it is read again: a cell can be as long as the file
  #line = 1; // at the start of the rest
  #row: Row = { line: 1, cells: [] };

  /** Returns the rows that end in the next piece of a text and have a cell with more than spaces. */
  read(piece: string, isLast: boolean): Row[] {
    const text = this.#rest + piece;
    const rows: Row[] = [];
    this.#rest = text;
    if (text.length < this.#minLength && !isLast) return rows;
    let at = 0;
    while (at < text.length || (isLast && this.#row.cells.length > 0)) {
      CELL.lastIndex = at;
      const [raw, quoted, plain = ''] = CELL.exec(text) as RegExpExecArray;
      const end = at + raw.length;
      const isUnclosed = quoted === undefined ? plain.startsWith('"') : text[end] === '"';
      // The next piece can continue the cell or the line end: a carriage return and a line feed are one line end.
      if (!isLast && (isUnclosed || end + 1 >= text.length)) break;
      if (isUnclosed && quoted === undefined) throw new CsvError(`expected a quote at the end of the cell on line ${this.#line}`);
      this.#row.cells.push(quoted?.replaceAll('""', '"') ?? plain);
      if (quoted !== undefined) this.#line += (raw.match(/\r\n|\r|\n/g) ?? []).length;
      at = end + 1;
      if (text[end] === ',') continue;
      if (end < text.length && text[end] !== '\r' && text[end] !== '\n') throw new CsvError(`expected a comma after the quote on line ${this.#line}`);
      if (text[end] === '\r' && text[at] === '\n') at += 1;
      if (this.#row.cells.some((cell) => cell.trim() !== '')) rows.push(this.#row);
      this.#line += 1;
      this.#row = { line: this.#line, cells: [] };
    }
    this.#rest = text.slice(at);
    this.#minLength = 2 * this.#rest.length;
    return rows;
  }
}
