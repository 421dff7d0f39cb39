// The summary of all matching results. The page requests it only on a click, because the server must read every result.
import { useSignal, useSignalEffect } from '@preact/signals';
import { filter } from '../filter.ts';
import { integer, number, plural } from '../format.ts';
import summaryQuery from '../operations/summary.graphql';
import { runQuery, ServerError } from '../server.ts';
import type { Summary } from '../types.ts';

export function SummaryLine() {
  const summary = useSignal<Summary | null>(null);
  const state = useSignal<'idle' | 'loading' | string>('idle');
  useSignalEffect(() => {
    void filter.value;
    summary.value = null;
    state.value = 'idle';
  });
  const summarize = async () => {
    state.value = 'loading';
    const current = filter.peek();
    try {
      const response = await runQuery<{ resultsSummary: Summary }>(summaryQuery, { filter: current });
      if (filter.peek() !== current) return;
      summary.value = response.resultsSummary;
      state.value = 'idle';
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      state.value = error.message;
    }
  };
  return (
    <div class="summary">
      <button type="button" class="link" disabled={state.value === 'loading'} onClick={() => void summarize()}>
        {state.value === 'loading' ? 'Summarizing…' : summary.value ? 'Summarize again' : 'Summarize all results'}
      </button>
      <p class="hint" aria-live="polite">
        {summary.value ? describe(summary.value) : ['idle', 'loading'].includes(state.value) ? '' : state.value}
      </p>
    </div>
  );
}

function describe(summary: Summary): string {
  const { results, archivedResults, values, mean, standardDeviation, minimum, maximum } = summary;
  if (mean === null || standardDeviation === null || minimum === null || maximum === null) return 'No results.';
  const archived = archivedResults ? ` (${integer(archivedResults)} of them expired)` : '';
  return (
    `${plural(results, 'result')}${archived}, ${plural(values, 'value')}: mean ${number(mean)}, standard deviation ` +
    `${number(standardDeviation)}, from ${number(minimum)} to ${number(maximum)}`
  );
}
