// The number of samples by state, and the time from submission to result.
import { duration, integer } from '../format.ts';
import { counts, delays, type Counts } from '../states.ts';

const STATES: readonly { name: keyof Counts; label: string; hint: string }[] = [
  { name: 'pending', label: 'Pending', hint: 'stored, waiting for the result' },
  { name: 'computed', label: 'Computed', hint: 'result stored' },
  { name: 'failed', label: 'Failed', hint: 'result cannot be computed' },
  { name: 'rejected', label: 'Rejected', hint: 'invalid, stored with problems' },
];

export function StateCounts() {
  return (
    <section class="counts card" aria-label="Samples by state">
      <dl>
        {STATES.map(({ name, label, hint }) => (
          <div key={name} class={`count ${name} ${counts.value?.[name] ? '' : 'zero'}`}>
            <dt>
              <span class="dot" aria-hidden="true" />
              {label}
            </dt>
            <dd>
              <span class="value">{counts.value ? integer(counts.value[name]) : '–'}</span>
              <span class="hint">{hint}</span>
            </dd>
          </div>
        ))}
        <Delay />
      </dl>
    </section>
  );
}

function Delay() {
  const sorted = [...delays.value].sort((one, other) => one - other);
  const median = sorted[Math.floor(sorted.length / 2)];
  const slowest = sorted.at(-1);
  return (
    <div class="count delay">
      <dt>Submission to result</dt>
      <dd>
        <span class="value">{median === undefined ? '–' : duration(median)}</span>
        <span class="hint">
          {slowest === undefined ? (counts.value ? 'no result yet' : '') : `median of ${sorted.length}, slowest ${duration(slowest)}`}
        </span>
        <Sparkline delays={delays.value} />
      </dd>
    </div>
  );
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
