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
const TIME_STAMP = /^(?!0000)\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?$/i; // the date may not exist
const LABEL = 'label.';
const MAX_LABEL_CHARACTERS = 64;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const JOINER = /[\u200c\u200d]/; // in emoji, for example; the server allows joiners between other characters
const PIECE_BYTES = 128 * 1024;

export class CsvError extends Error {}

/** An invalid row, or the valid rows of a sample that it can belong to. The page does not send them. */
interface BadRow {
  line: number; // the number of its first line
  message: string;
}

interface Sample {
  line: number; // of its first valid row, or 0 if it has none
  head: string | null; // the members `time_stamp` and `labels` as JSON; null while its rows can belong to any sample
  data: string[]; // the values of each row as JSON, without the brackets
  hasMissing: boolean;
  invalidLine: number; // of its first invalid row, or 0 if it has none
}

interface Column {
  name: string;
  isIdentity: boolean; // whether it has the time stamp or a label
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
  const samples = new Samples();
  const cells = new Cells(samples);
  const lines: Blob[] = []; // the browser can keep blobs outside of the memory of the page
  for (let start = 0; start < file.size; start += PIECE_BYTES) {
    stop.throwIfAborted();
    const isLast = start + PIECE_BYTES >= file.size;
    const piece = await file.slice(start, start + PIECE_BYTES).arrayBuffer();
    cells.read(decode(decoder, piece, !isLast), isLast);
    lines.push(new Blob([samples.take()]));
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
  #header: string[] = [];
  #columns: readonly Column[] | null = null;
  #row: Row | null = null; // null at the start of a row
  #last: Sample | null = null; // the next rows can belong to it
  #ndjson = '';
  #line = 1; // at the end of the NDJSON

  /** Adds a cell of a row that ends later. */
  addCell(cell: string): void {
    if (this.#columns) (this.#row ??= new Row(this.#columns)).add(cell);
    else this.#header.push(cell);
  }

  /** Ends a row, of which `line` is the number of its first line. Ignores a row whose cells have only spaces. */
  endRow(line: number): void {
    if (!this.#columns) {
      if (this.#header.some((cell) => cell.trim() !== '')) this.#columns = columnsOf(this.#header);
      this.#header = [];
    }
    if (this.#row && !this.#row.isBlank) this.#add(this.#row.end(line, this.badRows), line);
    this.#row = null;
  }

  /** Returns the samples since the last call that no further row can belong to. */
  take(): string {
    const ndjson = this.#ndjson;
    this.#ndjson = '';
    return ndjson;
  }

  /** Returns the last sample. */
  end(): string {
    if (!this.#columns) throw noTimeStamp();
    this.#finish();
    return this.take();
  }

  #add(sample: Sample, line: number): void {
    const last = this.#last;
    if (last && sample.head === null) last.invalidLine ||= line;
    if (last && (last.head ?? sample.head) === sample.head) {
      join(sample, last);
    } else {
      this.#finish();
      this.#last = sample;
    }
  }

  #finish(): void {
    if (!this.#last) return;
    const { line, head, data, hasMissing, invalidLine } = this.#last;
    if (invalidLine > 0) {
      if (data.length > 0) this.badRows.push({ line, message: `this sample may lack values, because line ${invalidLine} is invalid` });
      return;
    }
    const lineEnds = '\n'.repeat(line - this.#line);
    this.#line = line;
    this.#ndjson += `${lineEnds}{${head},"data":[${data.join(',')}]${hasMissing ? ',"missing":"skip"' : ''}}`;
  }
}

const noTimeStamp = () => new CsvError(`expected columns separated by commas, one of them with the name ${TIME}`);

/** Returns the columns for the cells of the first row. */
function columnsOf(cells: readonly string[]): Column[] {
  const columns = cells.map((cell): Column => {
    const name = cell.trim();
    return { name, isIdentity: name === TIME || name.startsWith(LABEL) };
  });
  const counts = new Map<string, number>();
  for (const { name, isIdentity } of columns) if (isIdentity) counts.set(name, (counts.get(name) ?? 0) + 1);
  if (!counts.has(TIME)) throw noTimeStamp();
  for (const [name, count] of counts) if (count > 1) throw new CsvError(`expected the column ${name} once, got it ${count} times`);
  return columns;
}

/** Adds a row to the rows before. */
function join(row: Sample, before: Sample): void {
  before.head = row.head;
  before.line ||= row.line;
  before.invalidLine ||= row.invalidLine;
  before.hasMissing ||= row.hasMissing;
  before.data.push(...row.data);
}

/** A row. It can be as long as the file, so each cell is converted as soon as it is read. */
class Row {
  isBlank = true;
  #size = 0;
  #identity = new Map<string, string>(); // the cells of the time stamp and the labels, by the names of their columns
  #values: string[] = [];
  #hasMissing = false;
  #hasTime = false; // a time stamp or label that is not valid does not show which sample the row belongs to
  #hasLabels = true;
  #fault: string | null = null; // of the first invalid cell

  constructor(private readonly columns: readonly Column[]) {}

  add(cell: string): void {
    this.isBlank &&= cell.trim() === '';
    const column = this.columns[this.#size];
    this.#size += 1;
    if (column?.isIdentity) this.#addIdentity(column.name, cell);
    else if (column && this.#fault === null) this.#addValue(column.name, cell);
  }

  /** Returns the row as a sample. Adds it to `badRows` if it is invalid. */
  end(line: number, badRows: BadRow[]): Sample {
    const size = this.columns.length;
    const isWhole = this.#size === size; // otherwise it is not known which column has which cell
    const message = isWhole ? this.#fault : `expected ${size} cells, got ${this.#size}`;
    const head = isWhole && this.#hasTime && this.#hasLabels ? this.#head() : null;
    if (message !== null) {
      badRows.push({ line, message });
      return { line: 0, head, data: [], hasMissing: false, invalidLine: line };
    }
    const data = this.#values.length > 0 ? [this.#values.join(',')] : [];
    return { line, head, data, hasMissing: this.#hasMissing, invalidLine: 0 };
  }

  #addIdentity(name: string, cell: string): void {
    this.#identity.set(name, cell);
    if (name !== TIME) {
      if (isLabel(cell)) return;
      this.#hasLabels = false;
      this.#fault ??= `expected at most ${MAX_LABEL_CHARACTERS} printable characters, got ${JSON.stringify(cell)} in column ${name}`;
      return;
    }
    this.#hasTime = isTimeStamp(cell);
    if (!this.#hasTime) this.#fault ??= `expected a valid time stamp such as 2019-05-01T06:00:00-04:00, got ${JSON.stringify(cell)}`;
  }

  #addValue(name: string, cell: string): void {
    if (name === '') {
      if (cell.trim() === '') return;
      this.#fault =
        `expected an empty cell, got ${JSON.stringify(cell)} in a column without a name; ` +
        'pandas writes its index into a column without a name; write the file with index=False';
      return;
    }
    const value = toValue(cell);
    if (value === undefined) {
      this.#fault = `expected a number, got ${JSON.stringify(cell)} in column ${name}`;
      return;
    }
    this.#hasMissing ||= value === 'null';
    this.#values.push(value);
  }

  #head(): string {
    const labels = [...this.#identity].filter(([name, cell]) => name !== TIME && cell !== '');
    const sorted = labels
      .map(([name, cell]) => [name.slice(LABEL.length), cell] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1));
    const members = sorted.length ? `,"labels":${JSON.stringify(Object.fromEntries(sorted))}` : '';
    return `"time_stamp":${JSON.stringify(this.#identity.get(TIME))}${members}`;
  }
}

/** Returns whether a cell is a time stamp with a date that exists. The server checks the UTC offset. */
function isTimeStamp(cell: string): boolean {
  if (!TIME_STAMP.test(cell)) return false;
  const day = cell.slice(0, 10);
  const date = new Date(`${day}T00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day); // 30 February becomes 2 March
}

/** Returns whether the server accepts the value of a label, or the cell is empty. */
function isLabel(cell: string): boolean {
  if (cell.length > 2 * MAX_LABEL_CHARACTERS || [...cell].length > MAX_LABEL_CHARACTERS) return false;
  return cell === '' || cell.split(JOINER).every((part) => part !== '' && !UNPRINTABLE.test(part));
}

/** Returns a cell in the notation of JSON, or undefined if it is neither a number nor a missing value. */
function toValue(cell: string): string | undefined {
  const text = cell.trim();
  if (text === '' || NAN.test(text)) return 'null';
  const match = NUMBER.exec(text);
  if (!match || !Number.isFinite(Number(text))) return undefined;
  const [, sign, whole, fraction = '', exponent = ''] = match;
  return `${sign === '-' ? '-' : ''}${whole || '0'}${fraction && `.${fraction}`}${exponent}`;
}

/** Splits text into cells and rows. A cell in quotes can contain commas, line breaks, and two quotes for a quote. */
class Cells {
  #rest = ''; // the start of a cell
  #minLength = 0; // of the rest before it is read again: a cell can be as long as the file
  #line = 1; // at the start of the rest
  #rowLine = 1; // at the start of the row
  #isInRow = false;

  constructor(private readonly samples: Samples) {}

  /** Adds the cells and ends the rows that end in the next piece of a text. */
  read(piece: string, isLast: boolean): void {
    const text = this.#rest + piece;
    this.#rest = text;
    if (text.length < this.#minLength && !isLast) return;
    let at = 0;
    while (at < text.length || (isLast && this.#isInRow)) {
      CELL.lastIndex = at;
      const [raw, quoted, plain = ''] = CELL.exec(text) as RegExpExecArray;
      const end = at + raw.length;
      const isUnclosed = quoted === undefined ? plain.startsWith('"') : text[end] === '"';
      // The next piece can continue the cell or the line end: a carriage return and a line feed are one line end.
      if (!isLast && (isUnclosed || end + 1 >= text.length)) break;
      if (isUnclosed && quoted === undefined) throw new CsvError(`expected a quote at the end of the cell on line ${this.#line}`);
      this.samples.addCell(quoted?.replaceAll('""', '"') ?? plain);
      if (quoted !== undefined) this.#line += (raw.match(/\r\n|\r|\n/g) ?? []).length;
      at = end + 1;
      this.#isInRow = text[end] === ',';
      if (this.#isInRow) continue;
      if (end < text.length && text[end] !== '\r' && text[end] !== '\n') throw new CsvError(`expected a comma after the quote on line ${this.#line}`);
      if (text[end] === '\r' && text[at] === '\n') at += 1;
      this.samples.endRow(this.#rowLine);
      this.#line += 1;
      this.#rowLine = this.#line;
    }
    this.#rest = text.slice(at);
    this.#minLength = 2 * this.#rest.length;
  }
}
