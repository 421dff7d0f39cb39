import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { Correction, MAX_EDITED_BYTES } from '../correction.ts';
import { bytes, shortId } from '../format.ts';
import { selectedId } from '../selection.ts';
import { ServerError } from '../server.ts';
import { maySubmit } from '../session.ts';
import type { Problem, Sample, SampleState } from '../types.ts';
import { DialogEnd, finish, isEscaped } from './dialog-end.tsx';
import { Labels } from './labels.tsx';

const CORRECTABLE: readonly SampleState[] = ['COMPUTED', 'REJECTED'];

/** Edits a sample and submits the new version in its place. Hidden in other states. */
export function CorrectButton({ sample }: { sample: Sample }) {
  const { id, state, bytes: size } = sample;
  const isEditing = useSignal(false);
  useLayoutEffect(() => () => void (isEditing.value = false), [id]); // the button Back can select another sample
  if (!maySubmit.value || !CORRECTABLE.includes(state)) return null;
  const edit = () => {
    selectedId.value = id; // otherwise the next result replaces the displayed sample
    isEditing.value = true;
  };
  const isLarge = size > MAX_EDITED_BYTES;
  const title = isLarge ? `Larger than ${bytes(MAX_EDITED_BYTES)}: use POST /samples with the header x-supersedes` : '';
  return (
    <>
      <button type="button" class="link" disabled={isLarge} title={title} onClick={edit}>
        Correct
      </button>
      {isEditing.value && <Editor sample={sample} onClose={() => (isEditing.value = false)} />}
    </>
  );
}

function Editor({ sample, onClose }: { sample: Sample; onClose(): void }) {
  const { id, state } = sample;
  const dialog = useRef<HTMLDialogElement>(null);
  const correction = useMemo(() => new Correction(sample), [id]);
  const original = useSignal<string | null>(null);
  const text = useSignal('');
  const isSending = useSignal(false);
  const fault = useSignal<string | null>(null);
  const problems = useSignal<readonly Problem[]>([]);
  const attempt = async (action: () => Promise<void>) => {
    fault.value = null;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      fault.value = error.refusal;
    }
  };
  useEffect(() => {
    dialog.current?.showModal();
    void attempt(async () => {
      original.value = await correction.read();
      text.value = correction.draft ?? original.value;
    });
  }, []);
  useEffect(() => dialog.current?.querySelector('textarea')?.focus(), [original.value === null]);
  const isUnchanged = text.value === original.value;
  const confirm = async () => {
    if (isSending.value || isUnchanged) return;
    isSending.value = true;
    problems.value = [];
    await attempt(async () => {
      problems.value = await correction.submit(text.value);
      if (problems.value.length === 0) finish(dialog);
    });
    isSending.value = false;
  };
  const close = () => {
    if (!isEscaped(dialog)) correction.draft = undefined; // the key Escape must not lose a text
    onClose();
  };
  return (
    <dialog ref={dialog} class="editor" aria-labelledby="correct-title" onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void confirm();
        }}
      >
        <h2 id="correct-title">Correct sample {shortId(id)}?</h2>
        <p>
          {state === 'REJECTED'
            ? 'The new version is another sample. This sample stays rejected.'
            : 'The new version replaces this sample. Lists and summaries omit the earlier result. You can still read it by its id.'}
        </p>
        <label>
          New version
          <textarea
            rows={10}
            spellcheck={false}
            disabled={original.value === null}
            value={text.value}
            onInput={({ currentTarget }) => (correction.draft = text.value = currentTarget.value)}
          />
        </label>
        {original.value !== null && correction.labels.length > 0 && (
          <p class="hint">
            Labels that are not in the text, and stay: <Labels labels={correction.labels} />
          </p>
        )}
        {problems.value.length > 0 && (
          <div class="fault" role="alert">
            <p>The new version was rejected. The sample is unchanged.</p>
            {problems.value.map(({ path, message }) => (
              <p key={path + message} class="problem">
                <code>{path}</code> {message}
              </p>
            ))}
          </div>
        )}
        <DialogEnd dialog={dialog} fault={fault}>
          <button type="submit" class="primary" aria-disabled={isSending.value || isUnchanged}>
            {isSending.value ? 'Submitting…' : 'Submit correction'}
          </button>
        </DialogEnd>
      </form>
    </dialog>
  );
}
