// The summary of all matching results. The server computes it from rollups, or else from each result.
import { columnNumber, integer, number, plural, shortTime, time } from '../format.ts';
import { labelName } from '../labels.ts';
import { total } from '../results.ts';
import { selectedId } from '../selection.ts';
import { hasTooManyValues, isOnRequest, request, rows, summary, summaryFault, type Row } from '../summary.ts';
import type { Summary, SummaryStatistics } from '../types.ts';

const COLUMNS = [
  { name: 'results', label: 'Results' },
  { name: 'mean', label: 'Mean' },
  { name: 'standardDeviation', label: 'Std dev' },
  { name: 'median', label: 'Median' },
  { name: 'percentile5', label: '5 %' },
  { name: 'percentile95', label: '95 %' },
  { name: 'minimum', label: 'Minimum' },
  { name: 'maximum', label: 'Maximum' },
] as const satisfies readonly { name: keyof SummaryStatistics; label: string }[];

export function SummaryTable() {
  const hasLatest = labelName.value !== '' && !hasTooManyValues.value;
  return (
    <section class="summary" aria-label="Statistics of all results">
      {rows.value.length > 0 && (
        <div class="scroller" tabIndex={0} role="group" aria-label="Statistics of all results and of each line">
          <table>
            <thead>
              <tr>
                <th scope="col">{labelName.value}</th>
                {hasLatest && <th scope="col">Latest mean (UTC)</th>}
                {COLUMNS.map(({ name, label }) => (
                  <th key={name} scope="col">
                    {label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.value.map((row) => (
                <SummaryRow key={row.value} row={row} hasLatest={hasLatest} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p class="hint">
        {summaryFault.value ?? (summary.value ? describe(summary.value) : !isOnRequest.value && 'Summarizing…')}
      </p>
      {hasTooManyValues.value && <p class="hint">The label {labelName.value} has too many values for statistics of each value.</p>}
      {isOnRequest.value && (
        <button type="button" class="link" onClick={request}>
          Summarize all {integer(total.value)} results
        </button>
      )}
    </section>
  );
}

function SummaryRow({ row: { value, color, statistics, latest }, hasLatest }: { row: Row; hasLatest: boolean }) {
  return (
    <tr>
      <th scope="row" title={value ?? ''}>
        {color && <span class="dot" style={{ color: `var(${color})` }} aria-hidden="true" />}
        {value === null ? 'all results' : value || `no ${labelName.value}`}
      </th>
      {hasLatest && (
        <td>
          {latest && (
            <>
              <button type="button" class="link" title={String(latest.mean)} onClick={() => (selectedId.value = latest.id)}>
                <span class="unseen">Show sample with mean </span>
                {columnNumber(latest.mean)}
              </button>{' '}
              <time class="hint" dateTime={latest.timestamp} title={time(latest.timestamp)}>
                {shortTime(latest.timestamp)}
              </time>
            </>
          )}
        </td>
      )}
      {COLUMNS.map(({ name }) => {
        const each = statistics[name];
        return (
          <td key={name} title={String(each ?? '')}>
            {each === null ? '–' : name === 'results' ? integer(each) : columnNumber(each)}
          </td>
        );
      })}
    </tr>
  );
}

function describe({ results, archivedResults, values, quantileError }: Summary): string {
  const archived = archivedResults ? ` (${integer(archivedResults)} of them expired)` : '';
  const error =
    quantileError === null
      ? 'Results of earlier versions have no median and no percentiles until they are computed again.'
      : `The error of median and percentiles is at most ${number(quantileError * 100)} %.`;
  return `${plural(results, 'result')}${archived} with ${plural(values, 'value')}. ${error}`;
}
