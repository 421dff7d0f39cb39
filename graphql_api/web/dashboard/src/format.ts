// Formats numbers and times for display. Times are in UTC.

const MAX_DIGITS = 17; // a double has no more
const [EARLIEST, LATEST] = [Date.parse('0001-01-01T00:00:00Z'), Date.parse('9999-12-31T23:59:59.999Z')] as const;
const whole = new Intl.NumberFormat('en');
const wholePart = { minimumFractionDigits: 0, maximumFractionDigits: 0, roundingPriority: 'morePrecision' } as const;
const withDigits = (digits: number) => new Intl.NumberFormat('en', { maximumSignificantDigits: digits, ...wholePart });
const decimal = withDigits(6);
const aligned = new Intl.NumberFormat('en', { minimumSignificantDigits: 5, maximumSignificantDigits: 5, ...wholePart });

/** Formats a number with six significant digits and its whole integer part, or with an exponent if it is huge or tiny. */
export function number(value: number): string {
  return format(value, decimal);
}

/** Formats a tick of an axis like `number`, but with as many digits as the step between ticks requires. */
export function tick(value: number, step: number): string {
  const digits = Math.min(Math.ceil(Math.log10(Math.abs(value) / step)) + 2, MAX_DIGITS);
  return digits > 6 ? format(value, withDigits(digits), digits - 1) : number(value);
}

/** Formats a number for a table column. A fraction has five significant digits, including trailing zeros. */
export function columnNumber(value: number): string {
  return format(value, Number.isInteger(value) ? decimal : aligned);
}

function format(value: number, notation: Intl.NumberFormat, exponentDigits = 4): string {
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-4 && size < 1e9)) return notation.format(value).replace('-', '−');
  const [digits = '', power = '0'] = value.toExponential(exponentDigits).split('e');
  return `${Number(digits)}e${Number(power)}`.replaceAll('-', '−');
}

export const integer = (value: number): string => whole.format(value);

export function plural(count: number, noun?: string): string {
  return noun ? `${integer(count)} ${noun}${count === 1 ? '' : 's'}` : integer(count);
}

/** `2026-11-24 02:15:07`, with a fraction of the second if it is not zero. */
export function time(text: string): string {
  const [date = '', clock = ''] = new Date(text).toISOString().split('T');
  return `${date} ${clock.replace(/(\.000)?Z$/, '')}`;
}

/** Formats a time in milliseconds for filters. The API accepts times from the year 1 to the year 9999. */
export function isoTime(milliseconds: number): string {
  return new Date(Math.min(Math.max(milliseconds, EARLIEST), LATEST)).toISOString().replace('.000', '');
}

export const shortTime = (text: string): string => time(text).replace(/\.\d+$/, '');

export const clockTime = (text: string): string => new Date(text).toISOString().slice(11, 19);

export function duration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.max(0, Math.round(milliseconds))} ms`;
  if (milliseconds < 60_000) return `${decimal.format(Number((milliseconds / 1_000).toPrecision(3)))} s`;
  if (milliseconds < 3_600_000) return `${Math.round(milliseconds / 60_000)} min`;
  return `${decimal.format(Number((milliseconds / 3_600_000).toPrecision(3)))} h`;
}

export function bytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let unit = 0;
  let shown = size;
  while (shown >= 1_000 && unit < units.length - 1) {
    shown /= 1_000;
    unit += 1;
  }
  return `${unit ? decimal.format(Number(shown.toPrecision(3))) : shown} ${units[unit]}`;
}

export const shortId = (id: string): string => id.slice(0, 8);

/** Returns a message of the server as a sentence. */
export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;
}
