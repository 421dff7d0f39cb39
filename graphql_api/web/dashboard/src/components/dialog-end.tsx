import type { Signal } from '@preact/signals';
import type { ComponentChildren, RefObject } from 'preact';

interface Props {
  dialog: RefObject<HTMLDialogElement | null>;
  fault: Signal<string | null>;
  /** The button that submits the form. */
  children: ComponentChildren;
}

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
        <button type="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        {children}
      </div>
    </>
  );
}
