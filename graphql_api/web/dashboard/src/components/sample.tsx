import { useEffect, useRef } from 'preact/hooks';
import { downloadSample } from '../downloads.ts';
import { bytes, number, plural, shortId, shortTime, time } from '../format.ts';
import { graphiql } from '../graphiql.ts';
import { sampleQuery } from '../queries.ts';
import { deletion, fault, isMissing, sample, selectedId } from '../selection.ts';
import { ServerError } from '../server.ts';
import { inDetail } from '../statistics.ts';
import type { ResultDetail, Sample } from '../types.ts';
import { CorrectButton } from './correction.tsx';
import { DeleteButton } from './deletion.tsx';
import { HistogramPlot } from './histogram.tsx';
import { LABELS, State } from './state.tsx';
import { Timeline } from './timeline.tsx';

export function SampleDetail() {
  const card = useRef<HTMLElement>(null);
  const id = selectedId.value;
  useEffect(() => {
    // On a narrow screen this card is below the table.
    if (id) card.current?.scrollIntoView({ block: 'nearest', behavior: scrolling() });
  }, [id]);
  return (
    <section ref={card} class="card sample" aria-labelledby="sample-title">
      <div class="card-head">
        <h2 id="sample-title" tabIndex={-1}>{selectedId.value ? 'Selected sample' : 'Newest sample'}</h2>
        {selectedId.value && (
          <button type="button" class="link" onClick={() => (selectedId.value = null)}>
            Show the newest
          </button>
        )}
      </div>
      <FindForm />
      <div role="status">
        {fault.value && <p class="fault">{fault}</p>}
        {id && sample.value?.id === id && (
          <p class="unseen">
            Sample {shortId(id)}: {LABELS[sample.value.state]}
          </p>
        )}
        {!sample.value && !fault.value && (
          <p class="empty">{id && isMissing.value ? missing() : 'The histogram and statistics of a sample appear here.'}</p>
        )}
      </div>
      {sample.value && <Detail sample={sample.value} />}
    </section>
  );
}

/** Displays the sample with an id that the user knows, for example from a receipt or a log. */
function FindForm() {
  return (
    <form
      class="find"
      onSubmit={(event) => {
        event.preventDefault();
        const id = String(new FormData(event.currentTarget).get('id')).trim();
        if (id) selectedId.value = id;
        event.currentTarget.reset();
      }}
    >
      <input name="id" aria-label="Id of a sample" placeholder="Id of a sample" autocomplete="off" spellcheck={false} />
      <button type="submit">Show</button>
    </form>
  );
}

function missing(): string {
  if (deletion.value === null) return 'No sample has this id. It may have expired.';
  const { deletedAt, reason } = deletion.value;
  return `This sample was deleted at ${shortTime(deletedAt)} UTC. ${reason ? `Reason: ${reason}` : 'No reason was given.'}`;
}

const scrolling = () => (matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth');

function Detail({ sample: displayed }: { sample: Sample }) {
  const { id, state, problems, timeline, labels, result, timeStamp, count, missingCount, bytes: size, sha256 } = displayed;
  return (
    <>
      <div class="row">
        <State state={state} />
        <code class="hint" title={id}>
          {shortId(id)}
        </code>
        <span class="actions">
          <button type="button" class="link" onClick={() => void download(id)}>
            Raw JSON
          </button>
          <a href={graphiql(sampleQuery, { id })}>GraphiQL</a>
          <CorrectButton sample={displayed} />
          <DeleteButton id={id} />
        </span>
      </div>
      {problems.length > 0 && (
        <ul class="problem-list">
          {problems.map(({ path, message }) => (
            <li key={path + message} class="problem">
              <code>{path}</code> {message}
            </li>
          ))}
        </ul>
      )}
      {result?.histogram && (
        <HistogramPlot histogram={result.histogram} mean={result.mean} deviation={result.standardDeviation} />
      )}
      {result && <Statistics result={result} />}
      <dl class="facts">
        <Fact name="Id" value={id} />
        <Fact name="Time stamp" value={timeStamp ?? 'none'} />
        {result && <Fact name="in UTC" value={time(result.timestamp)} />}
        {labels.map(({ name, value }) => (
          <Fact key={name} name={name} value={value} />
        ))}
        <Fact name="Size" value={`${plural(count, 'value')}, ${bytes(size)}`} />
        {missingCount > 0 && <Fact name="Missing" value={`${plural(missingCount, 'value')}, left out of the statistics`} />}
        <Fact name="SHA-256" value={sha256} />
        {result?.supersededBy && <Correction id={result.supersededBy} />}
      </dl>
      <Timeline entries={timeline} problems={problems} />
    </>
  );
}

function Statistics({ result }: { result: ResultDetail }) {
  return (
    <dl class="numbers">
      {inDetail.map(({ name, label, short }) => {
        const value = result[name];
        return (
          value !== null && (
            <div key={name}>
              <dt title={label}>{short}</dt>
              <dd title={String(value)}>{number(value)}</dd>
            </div>
          )
        );
      })}
    </dl>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd title={value}>{value}</dd>
    </div>
  );
}

/** The sample that takes the place of the displayed one in lists and summaries. */
function Correction({ id }: { id: string }) {
  return (
    <div>
      <dt>Corrected by</dt>
      <dd>
        <button type="button" class="link" title={id} onClick={() => (selectedId.value = id)}>
          <span class="unseen">Show sample </span>
          {shortId(id)}
        </button>
      </dd>
    </div>
  );
}

async function download(id: string): Promise<void> {
  try {
    await downloadSample(id);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    fault.value = error.refusal;
  }
}
