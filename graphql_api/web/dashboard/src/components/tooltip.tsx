import { number, plural, shortId, shortTime } from '../format.ts';
import { labelName } from '../labels.ts';
import type { Point } from '../points.ts';
import type { Label } from '../types.ts';

export interface Pointed {
  point: Point;
  left: number; // in pixels
  top: number;
}

interface TooltipProps extends Pointed {
  width: number; // of the plot, so that the text stays inside
}

/** The values of the point at the pointer, next to the point. */
export function Tooltip({ point, left, top, width }: TooltipProps) {
  const { result, bucket, mean, deviation, weight } = point;
  const isRight = left > width / 2;
  const style = { top: `${top}px`, ...(isRight ? { right: `${width - left + 14}px` } : { left: `${left + 14}px` }) };
  return (
    <div class="tooltip" style={style} aria-hidden="true">
      <p>
        {result && shortTime(result.timestamp)}
        {bucket && `${shortTime(bucket.start)}, one ${bucket.name}`}
      </p>
      <p>
        <strong>
          {number(mean)} ± {number(deviation)}
        </strong>{' '}
        {result ? plural(result.count, 'value') : plural(weight, 'result')}
      </p>
      {result && <code>{shortId(result.id)}</code>} <Labels labels={(result ?? bucket)?.labels ?? []} />
    </div>
  );
}

/** The label of the lines first. */
function Labels({ labels }: { labels: readonly Label[] }) {
  const sorted = [...labels].sort((one, other) => Number(other.name === labelName.value) - Number(one.name === labelName.value));
  return <span>{sorted.map(({ name, value }) => `${name} ${value}`).join(', ')}</span>;
}
