import { useSignal } from '@preact/signals';
import { isFiltered } from '../filter.ts';
import { clockTime, column, integer, shortTime, time } from '../format.ts';
import { arrived, fault, fresh, hasOlder, isLoaded, loadOlder, results, total } from '../results.ts';
import { saveResults, type Format } from '../saving.ts';
import { chosen, shown } from '../selection.ts';
import type { Result } from '../types.ts';

const ROWS = 25;

export function ResultsTable() {
  const rows = useSignal(ROWS);
  const isLoading = useSignal(false);
  const visible = results.value.slice(0, rows.value);
  const isMore = results.value.length > rows.value || hasOlder.value;
  const showMore = async () => {
    isLoading.value = true;
    try {
      if (results.value.length <= rows.value) await loadOlder();
      rows.value += ROWS;
    } finally {
      isLoading.value = false;
    }
  };
  return (
    <section class="card results" id="results" tabIndex={-1} aria-labelledby="results-title">
      <div class="card-head">
        <h2 id="results-title">Results</h2>
        <p class="hint" data-arrived={arrived.value}>
          {total.value > 0 && `newest ${integer(visible.length)} of ${integer(total.value)}`}
          {arrived.value > 0 && `, ${integer(arrived.value)} since this page was opened`}
        </p>
      </div>
      {visible.length === 0 ? (
        <Empty />
      ) : (
        <>
          <div class="scroller">
            <table onKeyDown={moveByArrows}>
              <caption class="unseen">Results, the newest first. A time stamp is a button that shows its sample.</caption>
              <thead>
                <tr>
                  <th scope="col">Time stamp (UTC)</th>
                  <th scope="col">Mean</th>
                  <th scope="col">
                    <abbr title="Population standard deviation">Std dev</abbr>
                  </th>
                  <th scope="col" class="roomy">
                    Minimum
                  </th>
                  <th scope="col" class="roomy">
                    Maximum
                  </th>
                  <th scope="col">Values</th>
                  <th scope="col" class="roomy">
                    Computed
                  </th>
                </tr>
              </thead>
              <tbody>
                {visible.map((result) => (
                  <Row key={result.id} result={result} />
                ))}
              </tbody>
            </table>
          </div>
          <div class="card-foot">
            {isMore && (
              <button type="button" class="quiet more" disabled={isLoading.value} onClick={showMore}>
                Show {ROWS} more
              </button>
            )}
            <p class="hint take">
              Take all {integer(total.value)} away:{' '}
              {(['csv', 'ndjson'] as const).map((format) => (
                <button key={format} type="button" class="link" onClick={() => void take(format)}>
                  {format.toUpperCase()}
                </button>
              ))}
            </p>
          </div>
        </>
      )}
    </section>
  );
}

function Row({ result: { id, timestamp, mean, standardDeviation, minimum, maximum, count, computedAt } }: { result: Result }) {
  const isShown = shown.value === id;
  return (
    <tr
      data-id={id}
      class={`${isShown ? 'shown' : ''} ${fresh.value.has(id) ? 'fresh' : ''}`}
      onClick={() => (chosen.value = id)}
    >
      <th scope="row">
        <button type="button" class="link" aria-pressed={chosen.value === id} title={time(timestamp)}>
          {shortTime(timestamp)}
        </button>
      </th>
      <td title={String(mean)}>{column(mean)}</td>
      <td title={String(standardDeviation)}>{column(standardDeviation)}</td>
      <td class="roomy" title={String(minimum)}>
        {column(minimum)}
      </td>
      <td class="roomy" title={String(maximum)}>
        {column(maximum)}
      </td>
      <td>{integer(count)}</td>
      <td class="roomy hint" title={time(computedAt)}>
        <time dateTime={computedAt}>{clockTime(computedAt)}</time>
      </td>
    </tr>
  );
}

function Empty() {
  if (!isLoaded.value) return <p class="empty">Reading results…</p>;
  if (isFiltered.value) return <p class="empty">No result passes the filter. New ones that do will appear here.</p>;
  return <p class="empty">No results yet. Submit a sample and its result appears here.</p>;
}

async function take(format: Format): Promise<void> {
  try {
    await saveResults(format);
  } catch (error) {
    fault.value = (error as Error).message;
  }
}

/** Up and down go from row to row. */
function moveByArrows(event: KeyboardEvent) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !(event.currentTarget instanceof HTMLElement)) return;
  const buttons = [...event.currentTarget.querySelectorAll('button')];
  const next = buttons[buttons.indexOf(document.activeElement as HTMLButtonElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.click();
}
