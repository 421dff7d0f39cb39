// All results that pass the filter, summed up on request: the server reads every one of them for that.
import { useSignal, useSignalEffect } from '@preact/signals';
import { filter } from '../filter.ts';
import { number, plural } from '../format.ts';
import summaryQuery from '../operations/summary.graphql';
import { ask, ServerError } from '../server.ts';
import type { Summary } from '../types.ts';

export function SummaryLine() {
  const summary = useSignal<Summary | null>(null);
  const state = useSignal<'idle' | 'asking' | string>('idle');
  useSignalEffect(() => {
    void filter.value;
    summary.value = null;
    state.value = 'idle';
  });
  const sumUp = async () => {
    state.value = 'asking';
    const asked = filter.peek();
    try {
      const answer = await ask<{ resultsSummary: Summary }>(summaryQuery, { filter: asked });
      if (filter.peek() !== asked) return;
      summary.value = answer.resultsSummary;
      state.value = 'idle';
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      state.value = error.message;
    }
  };
  return (
    <div class="summary">
      <button type="button" class="link" disabled={state.value === 'asking'} onClick={() => void sumUp()}>
        {state.value === 'asking' ? 'Summing up…' : summary.value ? 'Sum up again' : 'Sum up all results'}
      </button>
      <p class="hint" aria-live="polite">
        {summary.value ? inWords(summary.value) : ['idle', 'asking'].includes(state.value) ? '' : state.value}
      </p>
    </div>
  );
}

function inWords({ results, values, mean, standardDeviation, minimum, maximum }: Summary): string {
  if (mean === null || standardDeviation === null || minimum === null || maximum === null) return 'There are none.';
  return (
    `${plural(results, 'result')}, ${plural(values, 'value')}: mean ${number(mean)}, standard deviation ` +
    `${number(standardDeviation)}, from ${number(minimum)} to ${number(maximum)}`
  );
}
