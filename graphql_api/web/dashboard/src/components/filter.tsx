import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import {
  bounds,
  FIELDS,
  isFiltered,
  labelsOf,
  MAX_COUNT,
  MAX_LABELS,
  pasteTime,
  preset,
  selectPreset,
  setBounds,
  STATES,
  TIME_LIMITS,
  type Field,
} from '../filter.ts';
import { knownLabels } from '../labels.ts';
import { PRESETS } from '../presets.ts';
import { LABELS } from './state.tsx';

const TYPING_MILLISECONDS = 400;

export function FilterForm() {
  const form = useRef<HTMLFormElement>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const isOpen = useSignal(Object.keys(bounds.peek()).some((name) => name !== 'last'));
  const apply = () => {
    clearTimeout(timer.current);
    const fields = form.current as HTMLFormElement;
    // A field that is not valid, such as a time that is not complete, keeps its bound.
    const isValid = (name: string) => (fields.elements.namedItem(name) as HTMLInputElement).validity.valid;
    const values = [...new FormData(fields)].map(([name, value]) => {
      return [name, isValid(name) ? withZone(name, String(value)) : (bounds.value[name] ?? '')] as const;
    });
    setBounds({ last: bounds.value.last ?? '', ...Object.fromEntries(values) }, true);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <form
      ref={form}
      class={`filter ${isOpen.value ? 'open' : ''}`}
      aria-label="Filter"
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
      onInput={({ target }) => {
        clearTimeout(timer.current);
        // A choice applies at once: new results render the lists again, with the choice of the current filter.
        if (target instanceof HTMLSelectElement) apply();
        else timer.current = setTimeout(apply, TYPING_MILLISECONDS);
      }}
      onReset={() => setBounds({})}
    >
      <button
        type="button"
        class="quiet disclose"
        aria-expanded={isOpen.value}
        aria-controls="fields"
        onClick={() => (isOpen.value = !isOpen.value)}
      >
        Filter{isFiltered.value ? ' (on)' : ''}
      </button>
      <div class="fields" id="fields">
        {FIELDS.map((field) => (
          <RangeField key={field.name} field={field} />
        ))}
        <Choice name="state" label="State" values={STATES.map((state) => [state, LABELS[state]])} />
        {knownLabels.value.map(({ name, values }) => (
          <Choice key={name} name={`label.${name}`} label={name} values={values.map((value) => [value, value])} />
        ))}
        <button type="reset" class="quiet" aria-disabled={!isFiltered.value}>
          Clear
        </button>
      </div>
    </form>
  );
}

function RangeField({ field: { name, label, kind, upper } }: { field: Field }) {
  const isCount = name === 'count';
  const input = (side: 'gte' | 'lt' | 'lte') => {
    const value = (bounds.value[`${name}.${side}`] ?? '').replace(/Z$/, '');
    const type =
      kind === 'time'
        ? ({ type: 'datetime-local', step: value.includes('.') ? 0.001 : 1, ...TIME_LIMITS } as const)
        : ({ type: 'number', step: isCount ? 1 : 'any', ...(isCount && { min: 0, max: MAX_COUNT }) } as const);
    return { name: `${name}.${side}`, value, ...type };
  };
  // Browsers do not paste texts into fields of times.
  const paste = (event: ClipboardEvent) => {
    const text = event.clipboardData?.getData('text') ?? '';
    if (kind === 'time' && pasteTime((event.currentTarget as HTMLInputElement).name, text)) event.preventDefault();
  };
  return (
    <fieldset class={kind}>
      <legend>{label}</legend>
      <input aria-label={`${label}, from`} placeholder="from" onPaste={paste} {...input('gte')} />
      <span aria-hidden="true">–</span>
      <input aria-label={`${label}, to`} placeholder="to" onPaste={paste} {...input(upper)} />
    </fieldset>
  );
}

/** Buttons that select a range of time. None is pressed if the range is another one. */
export function Presets() {
  return (
    <div class="choice presets" role="group" aria-label="Range of time">
      {[...PRESETS, { name: 'all', label: 'All' }].map(({ name, label }) => (
        <button key={name} type="button" aria-pressed={preset.value === name} onClick={() => selectPreset(name)}>
          {label}
        </button>
      ))}
    </div>
  );
}

/** A list of values, of which one or none is selected. Disabled if the filter has as many labels as the server accepts. */
function Choice({ name, label, values }: { name: string; label: string; values: readonly (readonly [string, string])[] }) {
  const selected = bounds.value[name] ?? '';
  const isFull = name !== 'state' && selected === '' && labelsOf(bounds.value).length === MAX_LABELS;
  return (
    <label class="choice-field">
      <span>{label}</span>
      <select name={name} value={selected} disabled={isFull}>
        <option value="">any</option>
        {values.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Adds the suffix Z to the time from a form field, because all times of the page are in UTC. */
const withZone = (name: string, value: string): string => (name.startsWith('timestamp.') && value ? `${value}Z` : value);
