import { signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { setBounds, bounds } from '../filter.ts';
import { integer, number, plural, shortTime } from '../format.ts';
import { results, total } from '../results.ts';
import { displayedId, selectedId } from '../selection.ts';
import { labelName, lines, valueOf } from '../series.ts';
import { colorVersion } from '../theme.ts';
import { Plot, type Axis } from '../plot.ts';
import type { Result } from '../types.ts';
import { SeriesChips, SeriesSelect } from './series.tsx';
import { SummaryLine } from './summary.tsx';

const axis = signal<Axis>('timestamp');
const AXES: readonly { name: Axis; label: string }[] = [
  { name: 'timestamp', label: 'Time stamp' },
  { name: 'computedAt', label: 'Computed at' },
];

export function MeansPlot() {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(undefined);
  const pointed = useSignal<string | null>(null);
  useEffect(() => {
    const created = new Plot(container.current as HTMLDivElement, {
      onPoint: (id) => (pointed.value = id),
      onSelect: (id) => (selectedId.value = id),
      onRange: (from, to) => {
        if (axis.peek() === 'timestamp') setBounds({ ...bounds.peek(), 'timestamp.gte': from, 'timestamp.lt': to });
      },
    });
    plot.current = created;
    return () => created.destroy();
  }, [colorVersion.value]);
  useEffect(() => {
    plot.current?.show(lines.value, axis.value, displayedId.value);
  }, [lines.value, axis.value, displayedId.value, colorVersion.value]);
  const result = pointed.value === null ? undefined : results.value.find(({ id }) => id === pointed.value);
  return (
    <section class="card means" aria-labelledby="means-title">
      <div class="card-head">
        <h2 id="means-title">Means</h2>
        {labelName.value === '' && (
          <p class="hint legend">
            <span class="key-point" aria-hidden="true" /> mean
            <span class="key-band" aria-hidden="true" /> ± one standard deviation
          </p>
        )}
        <SeriesSelect />
        <div class="choice" role="radiogroup" aria-label="Time axis">
          {AXES.map(({ name, label }) => (
            <label key={name}>
              <input type="radio" name="axis" checked={axis.value === name} onChange={() => (axis.value = name)} />
              <span>{label}</span>
            </label>
          ))}
        </div>
      </div>
      <SeriesChips />
      <div ref={container} class="plot" role="img" aria-label={describe()}>
        {results.value.length === 0 && <p class="empty">Each result appears here as a point.</p>}
      </div>
      <p class="reading hint" aria-hidden="true">
        {result ? reading(result) : results.value.length ? help() : ' '}
      </p>
      {results.value.length > 0 && <SummaryLine />}
    </section>
  );
}

function reading(result: Result): string {
  const { timestamp, mean, standardDeviation, count } = result;
  const values = `${number(mean)} ± ${number(standardDeviation)}   ${plural(count, 'value')}`;
  return [shortTime(timestamp), valueOf(result), values].filter(Boolean).join('   ');
}

function help(): string {
  const newest = results.value.length;
  const part = newest < total.value ? `The newest ${integer(newest)} of ${plural(total.value, 'result')}. ` : '';
  return `${part}Point at a result to see its values. Click to select the result. Drag to filter by time.`;
}

function describe(): string {
  const all = lines.value.flatMap((line) => line.results);
  if (all.length === 0) return 'Plot of means over time: no results.';
  const means = all.map(({ mean }) => mean);
  const times = all.map((result) => result[axis.value]).sort((one, other) => Date.parse(one) - Date.parse(other));
  const lowest = means.reduce((one, other) => Math.min(one, other));
  const largest = means.reduce((one, other) => Math.max(one, other));
  return (
    `Means of ${plural(all.length, 'result')} in ${plural(lines.value.length, 'line')} from ${shortTime(times[0] as string)} to ` +
    `${shortTime(times.at(-1) as string)}, between ${number(lowest)} and ${number(largest)}. The table lists them.`
  );
}
