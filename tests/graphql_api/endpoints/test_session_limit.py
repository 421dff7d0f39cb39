"""The number of sessions of one key. A further sign-in ends the session that expires first."""

from concurrent.futures import ThreadPoolExecutor

import httpx
from google.cloud.firestore_v1.base_query import FieldFilter

from graphql_api.auth.secret_text import digest
from graphql_api.auth.sessions import MAX_SESSIONS
from storage.documents import document_paths
from tests.stack import Stack, eventually


def sign_in(stack: Stack, key: str) -> httpx.Cookies:
    """Start a session of a key. Return its cookie."""
    response = httpx.post(f"{stack.url}/session", headers={"x-api-key": key}, timeout=60)
    assert response.status_code == 201, response.text
    return response.cookies


def submitter_of(stack: Stack, cookies: httpx.Cookies) -> str | None:
    """Return the submitter of a session, or None if it has ended."""
    with httpx.Client(base_url=stack.url, headers={"origin": stack.url}, cookies=cookies, timeout=60) as browser:
        submitter: str | None = browser.get("/session").json()["submitter"]
        return submitter


def test_a_further_sign_in_ends_the_oldest_session(stack: Stack) -> None:
    """Sign-ins at the same time count each other. Sessions of other keys stay."""
    key, other = stack.new_key("many-sessions"), stack.new_key("one-session")
    kept, oldest = sign_in(stack, other), sign_in(stack, key)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: sign_in(stack, key), range(MAX_SESSIONS + 4)))
    newest = sign_in(stack, key)

    sessions = stack.firestore().collection(document_paths.SESSIONS)
    of_key = sessions.where(filter=FieldFilter("owner", "==", digest(key))).order_by("expires")
    assert len(list(of_key.stream())) == MAX_SESSIONS
    eventually(lambda: submitter_of(stack, oldest) is None)
    assert submitter_of(stack, newest) == "many-sessions"
    assert submitter_of(stack, kept) == "one-session"
