import { useSignal } from '@preact/signals';
import { integer, number, plural } from '../format.ts';
import type { Histogram } from '../types.ts';

const WIDTH = 400;
const HEIGHT = 150;
const GAP = 1;
const SINGLE_WIDTH = 48; // the width of the only bin if all values are equal

interface HistogramProps {
  histogram: Histogram;
  mean: number;
  deviation: number;
}

/** Bins as bars, the mean as a line, and one standard deviation on both sides as a band. */
export function HistogramPlot({ histogram: { edges, counts }, mean, deviation }: HistogramProps) {
  const pointed = useSignal<number | null>(null);
  const first = edges[0] ?? 0;
  const last = edges.at(-1) ?? 0;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const highest = Math.max(...counts, 1);
  // The difference of two doubles can overflow. The difference of their halves cannot.
  const x = (value: number) =>
    last > first ? ((value / 2 - first / 2) / (last / 2 - first / 2)) * WIDTH : WIDTH / 2;
  const within = (value: number) => Math.min(WIDTH, Math.max(0, value));
  const fullest = counts.indexOf(highest);
  const range = (bin: number) => `${number(edges[bin] ?? first)} to ${number(edges[bin + 1] ?? last)}`;
  const label =
    `Histogram of ${plural(total, 'value')} in ${plural(counts.length, 'bin')} from ${number(first)} to ` +
    `${number(last)}. Most values, ${integer(highest)}, are from ${range(fullest)}.`;
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const bin = last > first ? edges.findIndex((edge, index) => index > 0 && x(edge) >= at) - 1 : 0;
    pointed.value = bin >= 0 && bin < counts.length ? bin : null;
  };
  const step = (event: KeyboardEvent) => {
    const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const start = direction > 0 ? -1 : counts.length;
    pointed.value = Math.min(counts.length - 1, Math.max(0, (pointed.value ?? start) + direction));
  };
  return (
    <figure class="histogram">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={label}
        tabIndex={0}
        onPointerMove={point}
        onPointerLeave={() => (pointed.value = null)}
        onBlur={() => (pointed.value = null)}
        onKeyDown={step}
      >
        <rect
          class="deviation"
          x={within(x(mean - deviation))}
          width={Math.max(0, within(x(mean + deviation)) - within(x(mean - deviation)))}
          height={HEIGHT}
        />
        {counts.map((count, bin) => {
          const left = last > first ? x(edges[bin] ?? first) : (WIDTH - SINGLE_WIDTH) / 2;
          const width = last > first ? Math.max(0.5, x(edges[bin + 1] ?? last) - left) : SINGLE_WIDTH;
          const height = count === 0 ? 0 : Math.max(1.5, (count / highest) * (HEIGHT - 6));
          return (
            <rect
              key={bin}
              class={pointed.value === bin ? 'bin pointed' : 'bin'}
              x={left + (width > 4 ? GAP / 2 : 0)}
              y={HEIGHT - height}
              width={width > 4 ? width - GAP : width}
              height={height}
            />
          );
        })}
        <line class="mean" x1={within(x(mean))} x2={within(x(mean))} y1="0" y2={HEIGHT} />
      </svg>
      <div class="scale" aria-hidden="true">
        <span>{number(first)}</span>
        <span>{number(last)}</span>
      </div>
      <figcaption aria-live="polite">
        {pointed.value === null ? (
          <>
            <span class="key-mean" aria-hidden="true" /> mean
            <span class="key-deviation" aria-hidden="true" /> ± one standard deviation
          </>
        ) : (
          `${range(pointed.value)}: ${plural(counts[pointed.value] ?? 0, 'value')}`
        )}
      </figcaption>
    </figure>
  );
}
