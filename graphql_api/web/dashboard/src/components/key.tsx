import { forgetKey, isHandedOver, refusal, useKey } from '../key.ts';

export function KeyForm() {
  return (
    <section class="card key" aria-labelledby="key-title">
      <h1 id="key-title">{refusal.value ? 'The key was refused' : 'An API key, please'}</h1>
      {refusal.value && (
        <p class="fault" role="alert">
          {refusal}
        </p>
      )}
      {isHandedOver ? (
        <button type="button" onClick={() => location.reload()}>
          Load the page again
        </button>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const value = String(new FormData(event.currentTarget).get('key')).trim();
            if (!value) return;
            forgetKey();
            useKey(value);
          }}
        >
          <p>
            Whoever runs this server makes them. This browser tab keeps yours until it is closed; it is never part of
            an address.
          </p>
          <label for="key">API key</label>
          <div class="row">
            <input
              id="key"
              name="key"
              type="password"
              autocomplete="off"
              required
              pattern="\s*[!-~]+\s*"
              title="Latin letters, digits and signs, without spaces"
              spellcheck={false}
            />
            <button type="submit" class="primary">
              Use it
            </button>
          </div>
        </form>
      )}
    </section>
  );
}
