"""What a first client does: submit the fixture, wait for its result, and say where everything is.

Runs against an API that is up, with the key of the embedded stack, over nothing but HTTP.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from graphql_api.settings import FIXTURE, Settings

_PATIENCE_SECONDS = 10.0
_SUBMIT = "mutation ($sample: RawSample!) { submit(sample: $sample) { id state problems { path message } } }"
_RESULT = "query ($id: ID!) { result(id: $id) { timestamp mean standardDeviation count } }"


def main() -> None:
    """Submit the fixture and print the receipt, the result and the addresses."""
    settings = Settings.from_environ()
    key_file = Path(settings.local_key_file)
    base = f"http://{_bracketed(settings.host)}:{settings.api_port}"
    try:
        key = key_file.read_text().strip()
        receipt = _ask(base, key, _SUBMIT, b'{"sample": %s}' % FIXTURE.read_bytes())["submit"]
        print(f"submitted fixture/sample.json: {receipt['state']}, id {receipt['id']}")
        result = _wait_for_result(base, key, receipt["id"])
    except (OSError, RuntimeError) as error:
        sys.exit(f"the fixture did not go through: {error}")
    print(f"  timestamp          {result['timestamp']}")
    print(f"  mean               {result['mean']!r}")
    print(f"  standardDeviation  {result['standardDeviation']!r}")
    print(f"  count              {result['count']}")
    print()
    print(f"Results   {base}/")
    print(f"GraphiQL  {base}/graphql")
    print(f"API       {base}/graphql and {base}/samples")
    print(f"Key       in {_relative(key_file)}, for the header x-api-key")
    print("Ctrl-C stops everything; what was submitted stays.")


def _wait_for_result(base: str, key: str, sample_id: str) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        result = _ask(base, key, _RESULT, json.dumps({"id": sample_id}).encode())["result"]
        if result is not None:
            return result
        time.sleep(0.02)
    raise RuntimeError(f"there is no result after {_PATIENCE_SECONDS:.0f} seconds; look at the log of the function")


def _ask(base: str, key: str, query: str, variables: bytes) -> Any:
    body = b'{"query": %s, "variables": %s}' % (json.dumps(query).encode(), variables)
    request = Request(f"{base}/graphql", body, {"content-type": "application/json", "x-api-key": key})  # noqa: S310
    try:
        with urlopen(request, timeout=_PATIENCE_SECONDS) as response:  # noqa: S310 - the address is ours
            answer = json.load(response)
    except HTTPError as error:
        raise RuntimeError(f"{error.code} {error.read(500).decode(errors='replace')}") from error
    except URLError as error:
        raise RuntimeError(str(error.reason)) from error
    if "errors" in answer:
        raise RuntimeError(answer["errors"][0]["message"])
    return answer["data"]


def _bracketed(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def _relative(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    main()
