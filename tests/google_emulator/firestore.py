"""Google's emulator of Firestore: `python -m tests.google_emulator.firestore PORT`.

`gcloud emulators firestore start` would start a shell, which starts Java. The supervisor would then kill only gcloud.
"""

import os
import shutil
import sys
from pathlib import Path

MISSING = "Google's emulator or Java is not installed: gcloud components install cloud-firestore-emulator"
_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


def find() -> Path | None:
    """Return the emulator of the Google Cloud CLI, or None if the emulator or Java is not installed."""
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    emulator = Path(gcloud).resolve().parent.parent / _JAR
    return emulator if emulator.exists() else None


def main() -> None:
    """Replace this process by the emulator, which listens on the port in the first argument."""
    emulator = find()
    if emulator is None:
        sys.exit(MISSING)
    options = ["--host=127.0.0.1", f"--port={sys.argv[1]}"]
    os.execvp("java", ["java", "-Duser.language=en", "-cp", str(emulator), _MAIN_CLASS, *options])


if __name__ == "__main__":
    main()
