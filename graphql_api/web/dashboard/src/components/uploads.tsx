import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { now } from '../clock.ts';
import { bytes, integer, shortId } from '../format.ts';
import { selectedId } from '../selection.ts';
import { example, maySubmit } from '../session.ts';
import type { Line, Outcome } from '../tracking.ts';
import { dismiss, isActive, retry, submit, summary, uploads, type Upload } from '../uploads.ts';
import { CloseIcon, UploadIcon } from './icons.tsx';
import { State } from './state.tsx';

const MAX_LINES = 200;
const ORDER: readonly Outcome[] = ['COMPUTED', 'PENDING', 'REJECTED', 'FAILED', 'SUPERSEDED', 'DELETED', 'NOT_STORED'];

export function Uploads() {
  return (
    <section class="card uploads" aria-labelledby="uploads-title">
      <h2 id="uploads-title">Submit</h2>
      {maySubmit.value ? <Sources /> : <p class="example hint">To submit samples here, sign in with a key that has the scope submit.</p>}
      {uploads.value.length > 0 && (
        <ul class="files">
          {uploads.value.map((upload) => (
            <FileItem key={upload.id} upload={upload} />
          ))}
        </ul>
      )}
    </section>
  );
}

/** The files of this computer, or an example. */
function Sources() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <div class="drop-zone">
        <p>
          Drop files anywhere
          <span class="hint">JSON (one sample per file), NDJSON (one per line) or CSV (one per time stamp, with a column time_stamp)</span>
        </p>
        <button type="button" class="primary" onClick={() => input.current?.click()}>
          <UploadIcon />
          Choose files
        </button>
        <input
          ref={input}
          class="unseen"
          type="file"
          multiple
          tabIndex={-1}
          aria-label="Files to submit"
          accept=".json,.ndjson,.jsonl,.csv,application/json,application/x-ndjson,text/csv"
          onChange={({ currentTarget }) => {
            submit([...(currentTarget.files ?? [])]);
            currentTarget.value = '';
          }}
        />
      </div>
      {uploads.value.length === 0 && (
        <p class="example hint">
          No file yet?{' '}
          <button type="button" class="link" onClick={() => submit([currentExample()])}>
            Submit an example
          </button>
        </p>
      )}
    </>
  );
}

/** Returns the example with the current time: an axis from an earlier year would hide the results of today. */
function currentExample(): File {
  const sample = { ...JSON.parse(example), time_stamp: new Date(now()).toISOString(), labels: { source: 'example' } };
  return new File([JSON.stringify(sample)], 'example.json');
}

function FileItem({ upload }: { upload: Upload }) {
  const isOpen = useSignal(true);
  const { id, name, size, processed, phase, lines } = upload;
  const isMoving = phase === 'reading' || phase === 'sending';
  const withProblems = lines.filter(({ problems }) => problems.length > 0);
  return (
    <li class={`file ${phase}`}>
      <div class="file-head">
        <strong title={name}>{name}</strong>
        <span class="hint">{isMoving ? `${bytes(processed)} of ${bytes(size)}` : bytes(size)}</span>
        <button
          type="button"
          class="quiet square small"
          aria-label={`${isActive(upload) ? 'Stop' : 'Dismiss'} ${name}`}
          onClick={() => dismiss(id)}
        >
          <CloseIcon />
        </button>
      </div>
      {isActive(upload) ? (
        <progress aria-label={`${name}, ${phase === 'reading' ? 'read' : 'sent'}`} max={Math.max(size, 1)} value={processed} />
      ) : (
        <Bar upload={upload} />
      )}
      <p class="outcome">{summary(upload)}</p>
      {(phase === 'broken' || phase === 'stopped') && (
        <button type="button" class="retry" onClick={() => retry(id)}>
          {phase === 'broken' ? 'Retry' : 'Resume'}
        </button>
      )}
      {lines.length > 0 && (
        <details open={isOpen.value} onToggle={({ currentTarget }) => (isOpen.value = currentTarget.open)}>
          <summary>{lines.length === 1 ? 'Outcome' : `Outcomes of ${integer(lines.length)} lines`}</summary>
          <Lines lines={withProblems.length && lines.length > 1 ? [...withProblems, ...lines.filter((line) => !line.problems.length)] : lines} />
        </details>
      )}
    </li>
  );
}

/** A bar that shows the share of each outcome. */
function Bar({ upload: { counts, lines } }: { upload: Upload }) {
  if (lines.length === 0) return null;
  let x = 0;
  return (
    <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      {ORDER.map((outcome) => {
        const width = (counts[outcome] / lines.length) * 100;
        x += width;
        return <rect key={outcome} class={outcome.toLowerCase()} x={x - width} width={width} height="4" />;
      })}
    </svg>
  );
}

function Lines({ lines }: { lines: readonly Line[] }) {
  return (
    <>
      <ol class="lines" tabIndex={0} aria-label="Lines">
        {lines.slice(0, MAX_LINES).map((line) => (
          <li key={line.number}>
            <span class="line-number">{integer(line.number)}</span>
            <State state={line.outcome} />
            {line.id && (
              <button type="button" class="link" onClick={() => (selectedId.value = line.id)}>
                <span class="unseen">Show sample </span>
                {shortId(line.id)}
              </button>
            )}
            {line.problems.map(({ path, message }) => (
              <p key={path + message} class="problem">
                {path && <code>{path}</code>} {message}
              </p>
            ))}
          </li>
        ))}
      </ol>
      {lines.length > MAX_LINES && <p class="hint">and {integer(lines.length - MAX_LINES)} more</p>}
    </>
  );
}
