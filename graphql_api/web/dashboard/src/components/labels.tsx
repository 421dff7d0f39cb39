import { Fragment } from 'preact';
import type { Label } from '../types.ts';

/** The names and values of labels. A value that is written from right to left does not change the order of the text around it. */
export function Labels({ labels }: { labels: readonly Label[] }) {
  return labels.map(({ name, value }, index) => (
    <Fragment key={name}>
      {index > 0 && ', '}
      {name} <bdi>{value}</bdi>
    </Fragment>
  ));
}

/** The same as the text of a tooltip, with the Unicode characters that isolate a value. */
export const labelText = (labels: readonly Label[]): string => labels.map(({ name, value }) => `${name} ${isolated(value)}`).join(', ');

/** Returns a text that does not change the order of the text around it, for an attribute. An element is a `<bdi>`. */
export const isolated = (text: string): string => `\u2068${text}\u2069`;
