import { bounds, isFiltered, sampleFilter, selectedState, setBounds } from '../filter.ts';
import { integer, plural, shortId, shortTime } from '../format.ts';
import { graphiql } from '../graphiql.ts';
import samplesQuery from '../operations/samples.graphql';
import { selectedId } from '../selection.ts';
import { counts, problems } from '../states.ts';
import type { SampleState } from '../types.ts';
import { State } from './state.tsx';

const MAX_PROBLEMS = 2;

export function Problems() {
  const isShown = (state: SampleState) => selectedState.value === null || selectedState.value === state;
  const failed = isShown('FAILED') ? (counts.value?.failed ?? 0) : 0;
  const total = failed + (isShown('REJECTED') ? (counts.value?.rejected ?? 0) : 0);
  const state = failed ? 'FAILED' : 'REJECTED';
  const all = graphiql(samplesQuery, { filter: { ...sampleFilter.value, state }, first: 100 });
  return (
    <section class="card problems" aria-labelledby="problems-title">
      <div class="card-head">
        <h2 id="problems-title">Problems</h2>
        {problems.value.length > 0 && total > problems.value.length && (
          <p class="hint">
            newest {problems.value.length} of {integer(total)}, <a href={all}>see more in GraphiQL</a>
          </p>
        )}
      </div>
      {problems.value.length === 0 ? (
        <p class="empty">
          {total > 0 ? (
            <>
              {plural(total, 'rejected or failed sample')} {total === 1 ? 'is' : 'are'} not among the newest samples.{' '}
              {selectedState.value === null && (
                <button type="button" class="link" onClick={() => setBounds({ ...bounds.value, state })}>
                  Search older samples
                </button>
              )}
            </>
          ) : counts.value ? (
            `No sample ${isFiltered.value ? 'that matches the filter ' : ''}was rejected or failed.`
          ) : (
            'Loading…'
          )}
        </p>
      ) : (
        <ul tabIndex={0} aria-label="Rejected and failed samples">
          {problems.value.map(({ id, state, submittedAt, problems: list }) => (
            <li key={id}>
              <div class="row">
                <State state={state} />
                <button type="button" class="link" onClick={() => (selectedId.value = id)}>
                  <span class="unseen">Show sample </span>
                  {shortId(id)}
                </button>
                <time class="hint" dateTime={submittedAt}>
                  {shortTime(submittedAt)}
                </time>
              </div>
              {list.slice(0, MAX_PROBLEMS).map(({ path, message }) => (
                <p key={path + message} class="problem">
                  <code>{path}</code> {message}
                </p>
              ))}
              {list.length > MAX_PROBLEMS && <p class="hint">and {list.length - MAX_PROBLEMS} more</p>}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
