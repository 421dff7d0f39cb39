"""Commands in messages, as the user can run them: `.venv/bin/python -m MODULE` in a checkout."""

import shutil
import sys
from pathlib import Path


def python_command(module: str) -> str:
    """Return the command that runs `module` with the interpreter of this process, from the current folder."""
    executable = sys.executable
    if shutil.which("python") == executable:
        executable = "python"
    elif Path(executable).is_relative_to(Path.cwd()):
        executable = str(Path(executable).relative_to(Path.cwd()))
    return f"{executable} -m {module}"
