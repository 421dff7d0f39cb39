import { computed, useSignal, type Signal } from '@preact/signals';
import { Fragment } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { bounds, setBounds } from '../filter.ts';
import { integer, isoTime, number, plural, shortTime } from '../format.ts';
import { labelName, UNIT } from '../labels.ts';
import { isPart, overview, overviewFault } from '../overview.ts';
import { Plot, type LeftOut } from '../plot.ts';
import { axis, hasBuckets, pointsOf, type Axis, type Point } from '../points.ts';
import { archived, isLoaded, results, total } from '../results.ts';
import { displayedId, selectedId } from '../selection.ts';
import { lines } from '../series.ts';
import { colorVersion } from '../theme.ts';
import { units } from '../units.ts';
import { SeriesChips, SeriesSelect } from './series.tsx';
import { SummaryTable } from './summary.tsx';
import { Tooltip, type Pointed } from './tooltip.tsx';

const AXES: readonly { name: Axis; label: string }[] = [
  { name: 'timestamp', label: 'Time stamp' },
  { name: 'computedAt', label: 'Computed at' },
];
const MAX_UNITS = 3;
const NOTHING: LeftOut = { results: 0, means: 0 };

export function MeansPlot() {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(undefined);
  const pointed = useSignal<Pointed | null>(null);
  const showsOutliers = useSignal(false);
  const showsFarMeans = useSignal(false);
  const leftOut = useSignal<LeftOut>(NOTHING);
  useEffect(() => {
    const created = new Plot(container.current as HTMLDivElement, {
      onPoint: (point, left, top) => (pointed.value = point && { point, left, top }),
      onSelect: select,
      onRange: (from, to) => {
        if (axis.peek() === 'timestamp') setBounds({ ...bounds.peek(), 'timestamp.gte': from, 'timestamp.lt': to });
      },
    });
    plot.current = created;
    return () => created.destroy();
  }, [colorVersion.value]);
  useEffect(() => {
    leftOut.value =
      plot.current?.show({
        lines: hasBuckets.value ? lines.value : lines.value.map((line) => ({ ...line, buckets: [] })),
        axis: axis.value,
        markedId: displayedId.value,
        bucketSeconds: overview.value?.seconds ?? 0,
        showsOutliers: showsOutliers.value,
        showsFarMeans: showsFarMeans.value,
      }) ?? NOTHING;
  }, [lines.value, axis.value, displayedId.value, colorVersion.value, showsOutliers.value, showsFarMeans.value, hasBuckets.value]);
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
      <div class="plot">
        <div ref={container} role="img" aria-label={description.value} />
        {units.value.length > 0 && (
          <p class="unit" title="The label unit of the results">
            {units.value.slice(0, MAX_UNITS).map((unit, index) => (
              <Fragment key={unit}>
                {index > 0 && ', '}
                <bdi>{unit}</bdi>
              </Fragment>
            ))}
            {units.value.length > MAX_UNITS && ', …'}
          </p>
        )}
        {results.value.length === 0 && !isPart.value && <p class="empty">{isLoaded.value && 'Each result appears here as a point.'}</p>}
        {pointed.value && <Tooltip {...pointed.value} width={container.current?.clientWidth ?? 0} />}
      </div>
      <div class="shown hint">
        {(results.value.length > 0 || isPart.value) && <Shown />}
        <UnitChoice />
        <Outliers count={leftOut.value.results} noun="result" where=" in time" isShown={showsOutliers} />
        <Outliers count={leftOut.value.means} noun="mean" where="" isShown={showsFarMeans} />
      </div>
      {(results.value.length > 0 || isPart.value) && <SummaryTable />}
    </section>
  );
}

/** Says what the plot leaves out, and displays it if the user wants it. */
function Outliers({ count, noun, where, isShown }: { count: number; noun: string; where: string; isShown: Signal<boolean> }) {
  if (count === 0) return null;
  return (
    <p class="left-out">
      {plural(count, noun)} far from the others{where} {count === 1 ? 'is' : 'are'} {isShown.value ? 'shown' : 'left out'}.{' '}
      <button type="button" class="link" onClick={() => (isShown.value = !isShown.value)}>
        {isShown.value ? 'Leave out' : 'Show'}
      </button>
    </p>
  );
}

/** Which part of the results the plot shows. */
function Shown() {
  const loaded = results.value.length;
  const all = total.value + archived.value;
  const points = loaded > 0 && `${integer(loaded)} of ${plural(all, 'result')} shown as points: the newest results. `;
  if (!isPart.value) return <p>Click a result to select it.{axis.value === 'timestamp' && ' Drag to filter by time.'}</p>;
  if (hasBuckets.value) {
    const isShortest = overview.value?.name === (total.value > 0 ? 'minute' : 'hour'); // of expired results
    return (
      <p>
        {points}The line shows all {plural(all, 'result')}
        {archived.value > 0 && `, ${integer(archived.value)} of them expired`}: mean and standard deviation per {overview.value?.name}.
        {overview.value?.isLong && ' Shorter buckets would take too long to compute.'}
        {!isShortest && ' To see more detail, drag over a range of time, or click a mean.'}
      </p>
    );
  }
  return (
    <p>
      {points}
      {partHint(all)}
    </p>
  );
}

/** Offers to display one unit, because the values of several units share one axis. Chips offer this for lines by unit. */
function UnitChoice() {
  if (units.value.length < 2 || labelName.value === UNIT) return null;
  return (
    <p>
      The results have different units. Show only{' '}
      {units.value.slice(0, MAX_UNITS).map((unit, index) => (
        <Fragment key={unit}>
          {index > 0 && ', '}
          <button type="button" class="link" onClick={() => setBounds({ ...bounds.peek(), [`label.${UNIT}`]: unit })}>
            {unit}
          </button>
        </Fragment>
      ))}
    </p>
  );
}

/** Why the plot shows a part of the results only. */
function partHint(all: number): string {
  if (axis.value === 'computedAt') return 'To see the means of all results, select the axis Time stamp.';
  return overviewFault.value ?? `Loading the means of all ${integer(all)}…`;
}

/** Selects a result, or filters by the time of a bucket. */
function select({ result, bucket }: Point): void {
  if (result) selectedId.value = result.id;
  if (!bucket) return;
  const end = isoTime(Date.parse(bucket.start) + bucket.seconds * 1e3);
  setBounds({ ...bounds.peek(), 'timestamp.gte': bucket.start, 'timestamp.lt': end });
}

/** The plot as a text: its connected points, which are the buckets if it has buckets. */
const description = computed(() => {
  const all = pointsOf(lines.value, axis.value);
  const buckets = hasBuckets.value ? all.filter(({ bucket }) => bucket) : [];
  const points = buckets.length > 0 ? buckets : all.filter(({ result }) => result);
  const [first, last] = [points[0], points.at(-1)].map((point) => point && shortTime(new Date(point.time * 1e3).toISOString()));
  if (!first || !last) return 'Plot of means over time: no results.';
  const means = points.map(({ mean }) => mean);
  const lowest = means.reduce((one, other) => Math.min(one, other));
  const largest = means.reduce((one, other) => Math.max(one, other));
  const count = points.reduce((sum, { weight }) => sum + weight, 0);
  const each = buckets.length > 0 ? ` per ${overview.value?.name}` : '';
  return (
    `Means of ${plural(count, 'result')}${each} in ${plural(lines.value.length, 'line')} from ${first} to ` +
    `${last}, between ${number(lowest)} and ${number(largest)}. The table lists the results.`
  );
});
