import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { announce } from '../announcements.ts';
import { columns, isAvailable, order, selection, shownOrder, toggleOrder, type Column } from '../columns.ts';
import { downloadResults, type Format } from '../downloads.ts';
import { isFiltered } from '../filter.ts';
import { clockTime, columnNumber, integer, shortId, shortTime, time } from '../format.ts';
import { archived, arrivedInView, fault, fresh, isLoaded, total } from '../results.ts';
import { isMore, rows, showMore } from '../rows.ts';
import { displayedId, selectedId } from '../selection.ts';
import { ServerError } from '../server.ts';
import type { Result } from '../types.ts';
import { ColumnsMenu } from './columns.tsx';
import { labelText, Labels } from './labels.tsx';
import { useFocusOfRows } from './row-focus.ts';

export function ResultsTable() {
  const isLoading = useSignal(false);
  const section = useRef<HTMLElement>(null);
  useFocusOfRows(section);
  const more = async () => {
    if (isLoading.value) return;
    isLoading.value = true;
    try {
      await showMore();
    } finally {
      isLoading.value = false;
    }
  };
  return (
    <section ref={section} class="card results" id="results" tabIndex={-1} aria-labelledby="results-title">
      <div class="card-head">
        <h2 id="results-title">Results</h2>
        <p class="hint" data-arrived={arrivedInView.value}>
          {total.value > 0 && `${order.value ? 'first' : 'newest'} ${integer(rows.value.length)} of ${integer(total.value)}`}
          {arrivedInView.value > 0 && `, ${integer(arrivedInView.value)} new since this view was opened`}
        </p>
        {rows.value.length > 0 && <ColumnsMenu />}
      </div>
      {rows.value.length === 0 ? (
        <Empty />
      ) : (
        <>
          <div class={`scroller ${selection.value ? 'custom' : ''}`}>
            <table onKeyDown={moveByArrows}>
              <caption class="unseen">Results. The button in a row displays the sample.</caption>
              <thead>
                <tr>
                  {columns.value.map((column) => (
                    <Heading key={column.name} column={column} />
                  ))}
                </tr>
              </thead>
              <tbody>
                {rows.value.map((result) => (
                  <Row key={result.id} result={result} />
                ))}
              </tbody>
            </table>
          </div>
          <div class="card-foot">
            {isMore.value && (
              <button type="button" class="quiet more" aria-disabled={isLoading.value} onClick={() => void more()}>
                Show 25 more
              </button>
            )}
            <p class="hint downloads">
              Download all {integer(total.value)}:{' '}
              {(['csv', 'ndjson'] as const).map((format) => (
                <DownloadButton key={format} format={format} />
              ))}
            </p>
          </div>
        </>
      )}
    </section>
  );
}

/** The column of labels takes the room that the other columns leave. */
const textClass = ({ name }: Column): string => (name === 'labels' ? 'text' : '');

function Heading({ column }: { column: Column }) {
  const { label, short, order: field } = column;
  const { field: current, direction } = shownOrder.value;
  const isOrder = field !== null && field === current;
  const title = isAvailable(field) ? `Order by ${label}` : 'If the filter has labels, results can be ordered only by time stamp';
  return (
    <th
      scope="col"
      class={textClass(column)}
      aria-sort={isOrder ? (direction === 'ASC' ? 'ascending' : 'descending') : undefined}
    >
      {field === null ? (
        <abbr title={label}>{short}</abbr>
      ) : (
        <button type="button" class="order" disabled={!isAvailable(field)} title={title} onClick={() => toggleOrder(field)}>
          {short}
          <span aria-hidden="true">{isOrder ? (direction === 'ASC' ? '↑' : '↓') : ''}</span>
        </button>
      )}
    </th>
  );
}

function Row({ result }: { result: Result }) {
  const { id, timestamp } = result;
  const [, ...others] = columns.value;
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
      {others.map((column) => (
        <Cell key={column.name} column={column} result={result} />
      ))}
    </tr>
  );
}

function Cell({ column, result }: { column: Column; result: Result }) {
  const common = (title: string) => ({ class: textClass(column), title });
  switch (column.name) {
    case 'timestamp':
      return null;
    case 'labels':
      return (
        <td {...common(labelText(result.labels))}>
          <Labels labels={result.labels} />
        </td>
      );
    case 'id':
      return (
        <td {...common(result.id)}>
          <code>{shortId(result.id)}</code>
        </td>
      );
    case 'computedAt':
      return (
        <td {...common(time(result.computedAt))}>
          <time class="hint" dateTime={result.computedAt}>
            {clockTime(result.computedAt)}
          </time>
        </td>
      );
    default: {
      const value = result[column.name];
      return <td {...common(String(value ?? ''))}>{value === null ? '–' : columnNumber(value)}</td>;
    }
  }
}

function Empty() {
  if (!isLoaded.value && fault.value) return <p class="empty">The results are not loaded.</p>;
  if (!isLoaded.value || total.value > 0) return <p class="empty">Loading results…</p>;
  if (archived.value > 0) return <p class="empty">The results have expired. The plot shows their hourly statistics.</p>;
  if (isFiltered.value) return <p class="empty">No result matches the filter. New results that match appear here.</p>;
  return <p class="empty">No results yet. Submit a sample and its result appears here.</p>;
}

/** Saves all matching results as a file. The server can need many seconds for many results. */
function DownloadButton({ format }: { format: Format }) {
  const isLoading = useSignal(false);
  const download = async () => {
    if (isLoading.value) return;
    isLoading.value = true;
    fault.value = null;
    announce('Downloading…');
    try {
      announce(`The file ${await downloadResults(format)} is downloaded.`);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      fault.value = error.refusal;
    } finally {
      isLoading.value = false;
    }
  };
  return (
    <button type="button" class="link" aria-disabled={isLoading.value} onClick={() => void download()}>
      {format.toUpperCase()}
      {isLoading.value && ', downloading…'}
    </button>
  );
}

/** Moves the focus with the arrow keys and selects the row. */
function moveByArrows(event: KeyboardEvent) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !(event.currentTarget instanceof HTMLElement)) return;
  const buttons = [...event.currentTarget.querySelectorAll<HTMLButtonElement>('tbody button')];
  const next = buttons[buttons.indexOf(document.activeElement as HTMLButtonElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.click();
}
