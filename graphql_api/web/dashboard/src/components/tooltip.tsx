import { number, plural, shortId, shortTime } from '../format.ts';
import { labelName } from '../labels.ts';
import type { Point } from '../points.ts';
import type { Label } from '../types.ts';
import { Labels } from './labels.tsx';

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
      {result && <code>{shortId(result.id)}</code>}{' '}
      <span>
        <Labels labels={ordered((result ?? bucket)?.labels ?? [])} />
      </span>
    </div>
  );
}

/** The label of the lines first. */
function ordered(labels: readonly Label[]): Label[] {
  return [...labels].sort((one, other) => Number(other.name === labelName.value) - Number(one.name === labelName.value));
}
