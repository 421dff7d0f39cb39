import type { Signal } from '@preact/signals';
import type { ComponentChildren, RefObject } from 'preact';

interface Props {
  dialog: RefObject<HTMLDialogElement | null>;
  fault: Signal<string | null>;
  /** The button that submits the form. */
  children: ComponentChildren;
}

const [CANCELED, DONE] = ['canceled', 'done'];

/** Closes a dialog after its action. The button that opened the dialog may disappear, so the title of the card gets the focus. */
export function finish(dialog: Props['dialog']): void {
  dialog.current?.close(DONE);
  document.getElementById('sample-title')?.focus();
}

/** Whether the user has closed a dialog with the key Escape. */
export const isEscaped = (dialog: Props['dialog']): boolean => dialog.current?.returnValue === '';

/** The end of the form of a dialog: what went wrong, and the buttons. */
export function DialogEnd({ dialog, fault, children }: Props) {
  return (
    <>
      {fault.value && (
        <p class="fault" role="alert">
          {fault}
        </p>
      )}
      <div class="answers">
        <button type="button" onClick={() => dialog.current?.close(CANCELED)}>
          Cancel
        </button>
        {children}
      </div>
    </>
  );
}
