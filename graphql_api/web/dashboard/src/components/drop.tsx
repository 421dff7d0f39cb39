// Accepts dropped files on the whole page.
import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { maySubmit } from '../session.ts';
import { submit } from '../uploads.ts';
import { UploadIcon } from './icons.tsx';

export function DropTarget({ children }: { children: ComponentChildren }) {
  const isOver = useSignal(false);
  const depth = useRef(0); // the browser fires dragenter and dragleave for each element that the pointer crosses
  useEffect(() => {
    const on = (type: 'dragenter' | 'dragover' | 'dragleave' | 'drop', handle: (event: DragEvent) => void) => {
      const listener = (event: DragEvent) => {
        if (!event.dataTransfer?.types.includes('Files')) return;
        event.preventDefault();
        handle(event);
      };
      addEventListener(type, listener);
      return () => removeEventListener(type, listener);
    };
    const removers = [
      on('dragenter', () => {
        depth.current += 1;
        isOver.value = maySubmit.peek();
      }),
      on('dragover', (event) => {
        if (event.dataTransfer) event.dataTransfer.dropEffect = maySubmit.peek() ? 'copy' : 'none';
      }),
      on('dragleave', () => {
        depth.current = Math.max(0, depth.current - 1);
        isOver.value = depth.current > 0 && maySubmit.peek();
      }),
      on('drop', (event) => {
        depth.current = 0;
        isOver.value = false;
        if (maySubmit.peek()) submit(event.dataTransfer?.files ?? []);
      }),
    ];
    return () => removers.forEach((remove) => remove());
  }, []);
  return (
    <>
      {children}
      {isOver.value && (
        <div class="drop-here" aria-hidden="true">
          <p>
            <UploadIcon />
            Drop to submit
          </p>
        </div>
      )}
    </>
  );
}
