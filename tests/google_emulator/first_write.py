"""The first write to Google's emulator: `python -m tests.google_emulator.first_write`.

On a busy machine, the emulator takes longer for it than the commands of Dropzone wait.
"""

from google.cloud.firestore import Client

_TIMEOUT_SECONDS = 60.0


def main() -> None:
    """Write a document, and delete it."""
    document = Client().document("first/write")
    document.set({}, timeout=_TIMEOUT_SECONDS)
    document.delete(timeout=_TIMEOUT_SECONDS)


if __name__ == "__main__":
    main()
