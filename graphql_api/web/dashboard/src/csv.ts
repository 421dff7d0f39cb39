// CSV files: one sample per row, converted to one line of NDJSON per row.
//
// The first row has the names of the columns. `time_stamp` is the time of the sample, `label.site` is the label `site`,
// and the value of every other column is an element of `data`. A row without one of these values has a missing value.
// The page sends the digits of each number unchanged. The server checks the samples.

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const TIME = 'time_stamp';
const LABEL = 'label.';

export class CsvError extends Error {}

/** Returns a line per row. Rows without text become empty lines, so that line numbers are those of the file. Throws `CsvError`. */
export function toNdjson(text: string): string {
  const [first = '', ...rows] = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const separator = first.includes(';') && !first.includes(',') ? ';' : ',';
  const names = cells(first, separator).map((name) => name.trim());
  if (!names.includes(TIME)) throw new CsvError(`expected a column ${TIME} in the first row`);
  const isValue = (name: string) => name !== TIME && !name.startsWith(LABEL);
  if (!names.some(isValue)) throw new CsvError(`expected a column of values besides ${TIME} in the first row`);
  return rows.map((row) => (row.trim() === '' ? '' : sample(names, cells(row, separator), isValue))).join('\n');
}

function sample(names: readonly string[], texts: readonly string[], isValue: (name: string) => boolean): string {
  const entries = names.map((name, index) => ({ name, text: (texts[index] ?? '').trim() }));
  const values = entries.filter(({ name }) => isValue(name)).map(({ text }) => text);
  const more = texts.slice(names.length).map((text) => text.trim()); // cells without a name are values too
  const data = [...values, ...more].map((text) => (text === '' ? 'null' : NUMBER.test(text) ? text : JSON.stringify(text)));
  const labels = entries
    .filter(({ name, text }) => name.startsWith(LABEL) && text !== '')
    .map(({ name, text }) => [name.slice(LABEL.length), text]);
  const time = entries.find(({ name }) => name === TIME)?.text ?? '';
  return [
    `{"time_stamp":${JSON.stringify(time)},"data":[${data.join(',')}]`,
    ...(labels.length ? [`,"labels":${JSON.stringify(Object.fromEntries(labels))}`] : []),
    ...(data.includes('null') ? [',"missing":"skip"'] : []),
    '}',
  ].join('');
}

/** Returns the cells of a row. A cell in quotes can contain the separator, and two quotes for a quote. */
function cells(row: string, separator: string): string[] {
  const found: string[] = [];
  let cell = '';
  let isQuoted = false;
  for (let at = 0; at < row.length; at += 1) {
    const character = row[at] as string;
    if (isQuoted && character === '"' && row[at + 1] === '"') {
      cell += '"';
      at += 1;
    } else if (character === '"') isQuoted = !isQuoted;
    else if (character === separator && !isQuoted) {
      found.push(cell);
      cell = '';
    } else cell += character;
  }
  return [...found, cell];
}
