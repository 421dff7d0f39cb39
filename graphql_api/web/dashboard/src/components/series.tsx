import { integer, plural } from '../format.ts';
import { knownLabels, labelName } from '../labels.ts';
import { chosen, otherValues, select, series, toggle } from '../series.ts';
import { isolated } from './labels.tsx';

/** Selects the label whose values are the lines of the plot. Hidden if no displayed result has a label. */
export function SeriesSelect() {
  if (knownLabels.value.length === 0) return null;
  return (
    <label class="series-select">
      <span class="hint">Lines by</span>
      <select value={labelName.value} onChange={({ currentTarget }) => select(currentTarget.value)}>
        <option value="">no label</option>
        {knownLabels.value.map(({ name }) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A button per line. A click displays only this line, further clicks add and remove lines. */
export function SeriesChips() {
  if (labelName.value === '') return null;
  return (
    <div class="chips" role="group" aria-label={`Values of ${labelName.value}`}>
      {series.value.map(({ value, color, count }) => (
        <button
          key={value}
          type="button"
          class="chip"
          aria-pressed={chosen.value.has(value)}
          title={`${value ? isolated(value) : `no ${labelName.value}`}: ${plural(count, 'result')}`}
          onClick={() => toggle(value)}
        >
          <span class="dot" style={{ color: `var(${color})` }} aria-hidden="true" />
          <span class="name">{value || `no ${labelName.value}`}</span>
        </button>
      ))}
      {chosen.value.size > 0 && (
        <button type="button" class="link" onClick={() => (chosen.value = new Set())}>
          Show all
        </button>
      )}
      {otherValues.value.length > 0 && <OtherValues />}
    </div>
  );
}

/** Displays the line of a value that has no chip, because others have more results. */
function OtherValues() {
  const choose = (list: HTMLSelectElement) => {
    const value = otherValues.value[list.selectedIndex - 1];
    list.selectedIndex = 0;
    if (value !== undefined) toggle(value);
  };
  return (
    <select class="others" aria-label="Values with fewer results" onChange={({ currentTarget }) => choose(currentTarget)}>
      <option>{integer(otherValues.value.length)} more</option>
      {otherValues.value.map((value) => (
        <option key={value}>{value || `no ${labelName.value}`}</option>
      ))}
    </select>
  );
}
