import { useEffect, useRef } from 'preact/hooks';
import { isDisplayed, selectable, toggleColumn } from '../columns.ts';

/** Selects the columns of the table. Escape and a click elsewhere close it, because it covers a part of the table. */
export function ColumnsMenu() {
  const menu = useRef<HTMLDetailsElement>(null);
  const close = () => menu.current?.removeAttribute('open');
  useEffect(() => {
    const closeOutside = ({ target }: PointerEvent) => menu.current?.contains(target as Node) || close();
    addEventListener('pointerdown', closeOutside);
    return () => removeEventListener('pointerdown', closeOutside);
  }, []);
  const onKeyDown = ({ key }: KeyboardEvent) => {
    if (key !== 'Escape' || !menu.current?.open) return;
    close();
    menu.current.querySelector('summary')?.focus();
  };
  return (
    <details ref={menu} class="menu" onKeyDown={onKeyDown}>
      <summary class="button">Columns</summary>
      <fieldset>
        <legend class="unseen">Columns</legend>
        {selectable.value.map((column) => (
          <label key={column.name}>
            <input type="checkbox" checked={isDisplayed(column)} onChange={() => toggleColumn(column)} />
            {column.label}
          </label>
        ))}
      </fieldset>
    </details>
  );
}
