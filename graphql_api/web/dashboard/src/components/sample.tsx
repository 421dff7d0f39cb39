import { useEffect, useRef } from 'preact/hooks';
import { bytes, duration, number, plural, shortId, time } from '../format.ts';
import { graphiql } from '../graphiql.ts';
import sampleQuery from '../operations/sample.graphql';
import { chosen, fault, sample } from '../selection.ts';
import { saveRaw } from '../saving.ts';
import type { Sample, Statistics } from '../types.ts';
import { HistogramPlot } from './histogram.tsx';
import { State } from './state.tsx';

export function SampleDetail() {
  const card = useRef<HTMLElement>(null);
  const id = chosen.value;
  useEffect(() => {
    // On a narrow screen the table is above it.
    if (id) card.current?.scrollIntoView({ block: 'nearest', behavior: scrolling() });
  }, [id]);
  return (
    <section ref={card} class="card sample" aria-labelledby="sample-title">
      <div class="card-head">
        <h2 id="sample-title">{chosen.value ? 'Chosen sample' : 'Newest sample'}</h2>
        {chosen.value && (
          <button type="button" class="link" onClick={() => (chosen.value = null)}>
            Follow the newest
          </button>
        )}
      </div>
      {fault.value && <p class="fault">{fault}</p>}
      {sample.value && <Detail sample={sample.value} />}
      {!sample.value && !fault.value && <p class="empty">Its histogram and statistics appear here.</p>}
    </section>
  );
}

const scrolling = () => (matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth');

function Detail({ sample: shown }: { sample: Sample }) {
  const { id, state, problems, result, submittedAt, timeStamp, count, bytes: size, sha256 } = shown;
  return (
    <>
      <div class="row">
        <State state={state} />
        <code class="hint" title={id}>
          {shortId(id)}
        </code>
        <span class="actions">
          <button type="button" class="link" onClick={() => void save(id)}>
            Raw JSON
          </button>
          <a href={graphiql(sampleQuery, { id })}>GraphiQL</a>
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
      {result && <Numbers result={result} />}
      <dl class="facts">
        <Fact name="Time stamp" value={timeStamp ?? 'none'} />
        {result && <Fact name="in UTC" value={time(result.timestamp)} />}
        <Fact name="Submitted" value={time(submittedAt)} />
        {result && (
          <Fact name="Computed" value={`${duration(Date.parse(result.computedAt) - Date.parse(submittedAt))} later`} />
        )}
        <Fact name="Size" value={`${plural(count, 'value')}, ${bytes(size)}`} />
        <Fact name="SHA-256" value={sha256} />
      </dl>
    </>
  );
}

function Numbers({ result }: { result: Statistics }) {
  const shown = [
    ['Mean', result.mean],
    ['Std dev', result.standardDeviation],
    ['Median', result.median],
    ['Minimum', result.minimum],
    ['Maximum', result.maximum],
    ['Quartile 1', result.lowerQuartile],
    ['Quartile 3', result.upperQuartile],
    ['Skewness', result.skewness],
    ['Kurtosis', result.kurtosis],
  ] as const;
  return (
    <dl class="numbers">
      {shown
        .filter(([, value]) => value !== null && value !== undefined)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd title={String(value)}>{number(value as number)}</dd>
          </div>
        ))}
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

async function save(id: string): Promise<void> {
  try {
    await saveRaw(id);
  } catch (error) {
    fault.value = (error as Error).message;
  }
}
