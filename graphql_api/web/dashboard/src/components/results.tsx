import { useSignal } from '@preact/signals';
import { downloadResults, type Format } from '../downloads.ts';
import { isFiltered } from '../filter.ts';
import { clockTime, columnNumber, integer, shortTime, time } from '../format.ts';
import { arrived, fault, fresh, hasOlder, isLoaded, loadOlder, results, total } from '../results.ts';
import { displayedId, selectedId } from '../selection.ts';
import { inTable } from '../statistics.ts';
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
          {arrived.value > 0 && `, ${integer(arrived.value)} new since the page was opened`}
        </p>
      </div>
      {visible.length === 0 ? (
        <Empty />
      ) : (
        <>
          <div class="scroller">
            <table onKeyDown={moveByArrows}>
              <caption class="unseen">Results, the newest first. The button in a row displays the sample.</caption>
              <thead>
                <tr>
                  <th scope="col">Time stamp (UTC)</th>
                  {inTable.map(({ name, label, short, table }) => (
                    <th key={name} scope="col" class={table === 'wide' ? 'roomy' : ''}>
                      <abbr title={label}>{short}</abbr>
                    </th>
                  ))}
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
            <p class="hint downloads">
              Download all {integer(total.value)}:{' '}
              {(['csv', 'ndjson'] as const).map((format) => (
                <button key={format} type="button" class="link" onClick={() => void download(format)}>
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

function Row({ result }: { result: Result }) {
  const { id, timestamp, computedAt } = result;
  return (
    <tr
      data-id={id}
      class={`${displayedId.value === id ? 'displayed' : ''} ${fresh.value.has(id) ? 'fresh' : ''}`}
      onClick={() => (selectedId.value = id)}
    >
      <th scope="row">
        <button type="button" class="link" aria-pressed={selectedId.value === id} title={time(timestamp)}>
          {shortTime(timestamp)}
        </button>
      </th>
      {inTable.map(({ name, table }) => (
        <td key={name} class={table === 'wide' ? 'roomy' : ''} title={String(result[name])}>
          {columnNumber(result[name])}
        </td>
      ))}
      <td class="roomy hint" title={time(computedAt)}>
        <time dateTime={computedAt}>{clockTime(computedAt)}</time>
      </td>
    </tr>
  );
}

function Empty() {
  if (!isLoaded.value) return <p class="empty">Loading results…</p>;
  if (isFiltered.value) return <p class="empty">No result matches the filter. New results that match appear here.</p>;
  return <p class="empty">No results yet. Submit a sample and its result appears here.</p>;
}

async function download(format: Format): Promise<void> {
  try {
    await downloadResults(format);
  } catch (error) {
    fault.value = (error as Error).message;
  }
}

/** Moves the focus with the arrow keys and selects the row. */
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
