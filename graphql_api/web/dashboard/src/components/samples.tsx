import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { selectedState } from '../filter.ts';
import { integer, plural, shortId, shortTime, time } from '../format.ts';
import { hasOlder, loadOlder, samples } from '../samples.ts';
import { displayedId, selectedId } from '../selection.ts';
import { counts, type Counts } from '../states.ts';
import type { ListedSample } from '../types.ts';
import { Labels } from './labels.tsx';
import { useFocusOfRows } from './row-focus.ts';
import { LABELS } from './state.tsx';

/** The samples in the selected state, which have no listed result. */
export function SamplesTable() {
  const isLoading = useSignal(false);
  const section = useRef<HTMLElement>(null);
  useFocusOfRows(section);
  const state = selectedState.value;
  if (state === null) return null;
  const all = counts.value?.[state.toLowerCase() as keyof Counts];
  const listed = samples.value ?? [];
  const showMore = async () => {
    if (isLoading.value) return;
    isLoading.value = true;
    await loadOlder();
    isLoading.value = false;
  };
  return (
    <section ref={section} class="card results" id="results" tabIndex={-1} aria-labelledby="samples-title">
      <div class="card-head">
        <h2 id="samples-title">{LABELS[state]} samples</h2>
        {listed.length > 0 && (
          <p class="hint">
            newest {integer(listed.length)}
            {all !== undefined && ` of ${integer(Math.max(all, listed.length))}`}
          </p>
        )}
      </div>
      {listed.length === 0 ? (
        <p class="empty">{emptyText()}</p>
      ) : (
        <div class="scroller">
          <table>
            <caption class="unseen">Samples, the newest first. The button in a row displays the sample.</caption>
            <thead>
              <tr>
                <th scope="col">Submitted (UTC)</th>
                <th scope="col">Sample</th>
                <th scope="col">Values</th>
                <th scope="col" class="text">
                  Labels
                </th>
                <th scope="col" class="text roomy">
                  Problem
                </th>
              </tr>
            </thead>
            <tbody>
              {listed.map((sample) => (
                <Row key={sample.id} sample={sample} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {hasOlder.value && (
        <div class="card-foot">
          <button type="button" class="quiet more" aria-disabled={isLoading.value} onClick={() => void showMore()}>
            {listed.length === 0 ? 'Search older samples' : 'Show more'}
          </button>
        </div>
      )}
    </section>
  );
}

function emptyText(): string {
  if (samples.value === null) return 'Loading samples…';
  return hasOlder.value ? 'None of the newest samples matches the filter.' : 'No sample matches the filter.';
}

function Row({ sample: { id, submittedAt, count, labels, problems } }: { sample: ListedSample }) {
  const [first] = problems;
  return (
    <tr data-id={id} class={displayedId.value === id ? 'displayed' : ''} onClick={() => (selectedId.value = id)}>
      <th scope="row">
        <button type="button" class="link" aria-pressed={selectedId.value === id} title={time(submittedAt)}>
          {shortTime(submittedAt)}
        </button>
      </th>
      <td>
        <code title={id}>{shortId(id)}</code>
      </td>
      <td title={plural(count, 'value')}>{integer(count)}</td>
      <td class="text">
        <Labels labels={labels} />
      </td>
      <td class="text roomy" title={first && `${first.path} ${first.message}`}>
        {first && `${first.path} ${first.message}`}
      </td>
    </tr>
  );
}
