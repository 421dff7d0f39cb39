import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { deleteSample, isAllowed } from '../deletion.ts';
import { shortId } from '../format.ts';
import { selectedId } from '../selection.ts';
import { ServerError } from '../server.ts';
import { DialogEnd, finish } from './dialog-end.tsx';

const MAX_REASON_CHARACTERS = 200;

/** Asks for confirmation and deletes a sample. Hidden if the user may not delete samples. */
export function DeleteButton({ id }: { id: string }) {
  const isAsking = useSignal(false);
  useLayoutEffect(() => () => void (isAsking.value = false), [id]); // the button Back can select another sample
  if (!isAllowed.value) return null;
  const ask = () => {
    selectedId.value = id; // otherwise the next result replaces the displayed sample
    isAsking.value = true;
  };
  return (
    <>
      <button type="button" class="link danger" onClick={ask}>
        Delete
      </button>
      {isAsking.value && <Confirmation id={id} onClose={() => (isAsking.value = false)} />}
    </>
  );
}

function Confirmation({ id, onClose }: { id: string; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const reason = useSignal('');
  const isDeleting = useSignal(false);
  const fault = useSignal<string | null>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const confirm = async () => {
    if (isDeleting.value) return;
    isDeleting.value = true;
    fault.value = null;
    try {
      await deleteSample(id, reason.value);
      finish(dialog);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      fault.value = error.refusal;
    } finally {
      isDeleting.value = false;
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="delete-title" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void confirm();
        }}
      >
        <h2 id="delete-title">Delete sample {shortId(id)}?</h2>
        <p>The submitted JSON and the result are deleted. This cannot be undone.</p>
        <label>
          Reason (optional)
          <input
            maxLength={MAX_REASON_CHARACTERS}
            value={reason.value}
            onInput={({ currentTarget }) => (reason.value = currentTarget.value)}
          />
        </label>
        <DialogEnd dialog={dialog} fault={fault}>
          <button type="submit" class="primary danger" aria-disabled={isDeleting.value}>
            {isDeleting.value ? 'Deleting…' : 'Delete'}
          </button>
        </DialogEnd>
      </form>
    </dialog>
  );
}
