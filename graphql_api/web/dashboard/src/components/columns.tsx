import { isDisplayed, selectable, toggleColumn } from '../columns.ts';

/** Selects the columns of the table. */
export function ColumnsMenu() {
  return (
    <details class="menu">
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
