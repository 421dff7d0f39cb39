// The number of samples by state, and the time from submission to result.
import { hasRange, selectedState, toggleState } from '../filter.ts';
import { duration, integer } from '../format.ts';
import { isLoaded, total } from '../results.ts';
import { counts, delays, type Counts } from '../states.ts';

const STATES: readonly { name: Exclude<keyof Counts, 'superseded'>; label: string; hint: string }[] = [
  { name: 'pending', label: 'Pending', hint: 'stored, waiting for the result' },
  { name: 'computed', label: 'Computed', hint: 'result stored' },
  { name: 'failed', label: 'Failed', hint: 'result cannot be computed' },
  { name: 'rejected', label: 'Rejected', hint: 'invalid, stored with problems' },
];

/** A tile per state, of the samples with the labels of the filter. A click displays only the samples in this state. */
export function StateCounts() {
  return (
    <section class="counts card" aria-label="Samples by state">
      <dl>
        {STATES.map(({ name, label, hint }) => {
          const state = name.toUpperCase() as Uppercase<keyof Counts>;
          const isSelected = selectedState.value === state;
          const inRange = isLoaded.value ? total.value : null;
          const count = counts.value && (name === 'computed' && hasRange.value ? inRange : counts.value[name]);
          return (
            <div
              key={name}
              class={`count ${name} ${count ? '' : 'zero'} ${selectedState.value === null || isSelected ? '' : 'other'}`}
            >
              <dt>
                <span class="dot" aria-hidden="true" />
                <button type="button" aria-pressed={isSelected} onClick={() => toggleState(state)}>
                  {label}
                </button>
              </dt>
              <dd>
                <span class="value">{count === null ? '–' : integer(count)}</span>
                <span class="hint">{hasRange.value && name !== 'computed' ? 'not filtered by range' : hint}</span>
              </dd>
            </div>
          );
        })}
        <Delay />
      </dl>
    </section>
  );
}

function Delay() {
  const sorted = [...delays.value].sort((one, other) => one - other);
  const slowest = sorted.at(-1);
  return (
    <div class="count delay">
      <dt>Submission to result</dt>
      <dd>
        <span class="value">{slowest === undefined ? '–' : duration(medianOf(sorted))}</span>
        <span class="hint">
          {slowest === undefined ? (counts.value ? 'no result yet' : '') : `median of ${sorted.length}, slowest ${duration(slowest)}`}
        </span>
        <Sparkline delays={delays.value} />
      </dd>
    </div>
  );
}

/** Returns the median of ascending numbers: the middle one, or the mean of the two in the middle. */
function medianOf(sorted: readonly number[]): number {
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2;
}

/** One bar per result, the newest on the right. */
function Sparkline({ delays: milliseconds }: { delays: readonly number[] }) {
  const largest = Math.max(...milliseconds, 1);
  const bars = milliseconds.map((delay, index) => {
    const height = Math.max(1.5, (delay / largest) * 28);
    return `M${(39 - index) * 3 + 1} 30v-${height.toFixed(1)}`;
  });
  return (
    <svg class="sparkline" viewBox="0 0 120 30" preserveAspectRatio="none" aria-hidden="true">
      <path d={bars.join('')} />
    </svg>
  );
}
