import { useEffect, useRef } from 'preact/hooks';
import { provider, refusal, signIn } from '../session.ts';

export function SignIn() {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  return (
    <section class="card key" aria-labelledby="key-title">
      <h1 id="key-title">{refusal.value ? 'Sign in again' : 'Enter an API key'}</h1>
      {refusal.value && (
        <p class="fault" role="alert">
          {refusal}
        </p>
      )}
      {provider && (
        <p>
          <a class="button primary provider" href={`/session/sign-in?${new URLSearchParams({ page: location.pathname + location.search })}`}>
            Sign in with {provider}
          </a>
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const value = String(new FormData(event.currentTarget).get('key')).trim();
          if (value) void signIn(value);
        }}
      >
        <p>
          The operator of this server creates API keys. The page does not store the key: it exchanges the key for a session
          of up to 12 hours.
        </p>
        <label for="key">API key</label>
        <div class="row">
          <input
            ref={input}
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
            Sign in
          </button>
        </div>
      </form>
    </section>
  );
}
