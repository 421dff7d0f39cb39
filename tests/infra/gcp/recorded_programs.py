"""Programs in place of gcloud, terraform and docker: they record how they are called, and answer like the real ones."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

KEY = "dz_0123"
FAKE = """#!/bin/sh
name=$(basename "$0")
echo "$name $*" >> "$CALLS"
case "$name $*" in
{cases}
esac
"""
SUBSCRIPTION = "projects/example/subscriptions/eventarc-123"
ANSWERS = {
    "gcloud auth print-access-token*": "echo token",
    "gcloud config config-helper*": "echo token",
    "gcloud eventarc triggers list*": f"echo {SUBSCRIPTION}",
    "gcloud artifacts docker images describe*": "echo sha256:abc",
    "gcloud secrets versions access*": f"echo {KEY}",
    "gcloud secrets versions add*": 'cat > "$CALLS.secret"',
    "gcloud pubsub subscriptions describe*ackDeadlineSeconds*": "echo 600",
    "gcloud pubsub subscriptions describe*deadLetterTopic*": "echo projects/example/topics/dropzone-dead-letters",
    "gcloud pubsub subscriptions describe*maxDeliveryAttempts*": "echo 100",
    "gcloud pubsub subscriptions describe*audience*": "echo https://function-b.run.app",
    "gcloud firestore databases describe*": "echo DELETE_PROTECTION_ENABLED",
    "docker run*new_key*": f"echo {KEY}",
    "docker login*": "cat >/dev/null",
    "terraform *output -raw api_url*": "echo https://api.run.app",
    "terraform *output -raw keys_job*": "echo dropzone-keys",
    "terraform *output -raw event_audiences*": "echo https://function-a.run.app,https://function-b.run.app",
}


class Machine:
    """A machine with programs that record their calls."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder / "bin"
        self._programs.mkdir()
        self._calls = folder / "calls"
        self._calls.touch()
        for name in ("sh", "git", "cat", "basename", "printf", "rm"):
            (self._programs / name).symlink_to(
                next(path for path in (Path("/bin") / name, Path("/usr/bin") / name) if path.exists())
            )
        self.install()

    def install(
        self, answers: Mapping[str, str] = {}, *, names: tuple[str, ...] = ("gcloud", "terraform", "docker")
    ) -> None:
        """Install the programs. `answers` are shell commands by the pattern of a call, and precede the usual ones."""
        merged = [*answers.items(), *ANSWERS.items()]
        cases = "\n".join(f"  {pattern.replace(' ', chr(92) + ' ')}) {command} ;;" for pattern, command in merged)
        for name in names:
            program = self._programs / name
            program.write_text(FAKE.format(cases=cases))
            program.chmod(0o755)

    def remove(self, name: str) -> None:
        """Remove a program."""
        (self._programs / name).unlink()

    def run(self, script: str, *arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script of infra/gcp."""
        return subprocess.run(
            ["/bin/sh", f"infra/gcp/{script}", *arguments],
            env={"PATH": str(self._programs), "CALLS": str(self._calls), "HOME": os.environ["HOME"], **variables},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """The calls so far, without the calls of git."""
        return self._calls.read_text().splitlines()

    @property
    def stored_secret(self) -> str:
        """What was added to Secret Manager."""
        return Path(f"{self._calls}.secret").read_text()

    def index(self, words: str) -> int:
        """Return the position of the first call that contains `words`."""
        return next(number for number, call in enumerate(self.calls) if words in call)
