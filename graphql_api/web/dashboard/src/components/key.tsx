import { enterKey, forgetKey, hasLocalKey, refusal } from '../key.ts';

export function KeyForm() {
  return (
    <section class="card key" aria-labelledby="key-title">
      <h1 id="key-title">{refusal.value ? 'The key was refused' : 'Enter an API key'}</h1>
      {refusal.value && (
        <p class="fault" role="alert">
          {refusal}
        </p>
      )}
      {hasLocalKey ? (
        <button type="button" onClick={() => location.reload()}>
          Reload the page
        </button>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const value = String(new FormData(event.currentTarget).get('key')).trim();
            if (!value) return;
            forgetKey();
            enterKey(value);
          }}
        >
          <p>
            The operator of this server creates API keys. This browser tab stores your key until you close the tab.
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
              title="ASCII letters, digits and signs, without spaces"
              spellcheck={false}
            />
            <button type="submit" class="primary">
              Use key
            </button>
          </div>
        </form>
      )}
    </section>
  );
}
