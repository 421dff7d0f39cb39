"""Stack files of tests whose function misbehaves on purpose."""

import re
from collections.abc import Sequence
from pathlib import Path

_FUNCTION = """\
[[processes]]
name = "function"
command = [
    "{{python}}", "-m", "uvicorn", "--factory", "{factory}", "--no-access-log",
    "--host", "127.0.0.1", "--port", "{{function_port}}",
]
port_setting = "function_port"
ready = "{{function_url}}/healthz"
environment = {{ DROPZONE_EVENT_SECRET = "{{secret}}", DROPZONE_AUDIT_DELAY_SECONDS = "{audit_delay_seconds}" }}

"""


def stack_file(
    folder: Path,
    factory: str,
    *,
    audit_delay_seconds: int = 300,
    trigger: str = "",
    schedules: Sequence[str] = ("audit",),
) -> Path:
    """Write the stack file with another function and another trigger, and with schedules that run every second.

    `factory` is the application of the function, as uvicorn names it. `trigger` are lines for the trigger.
    """
    text = Path("infra/embedded/stack.toml").read_text()
    function = _FUNCTION.format(factory=factory, audit_delay_seconds=audit_delay_seconds)
    for pattern, replacement in (
        (r'\[\[processes\]\]\nname = "function"\n.*?(?=\[\[)', function),
        (r"\n(?=announces_given_up = true)", f"\n{trigger}\n"),
        *((rf'(?<=name = "{each}"\n)(.*?)interval_seconds = 60', r"\1interval_seconds = 1") for each in schedules),
    ):
        text, count = re.subn(pattern, replacement, text, flags=re.DOTALL)
        assert count == 1, f"{pattern} is in the stack file {count} times"
    file = folder / "stack.toml"
    file.write_text(text)
    return file
