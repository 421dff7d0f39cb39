"""Another API process with other settings, over the Firestore and the function of a running stack."""

from pathlib import Path

from tests.stack import Stack


class AnotherApi(Stack):
    """Needs a fraction of the CPU time of a stack. Its `key` is the key of its own `submitter`."""

    def __init__(self, stack: Stack, folder: Path, **settings: str) -> None:
        super().__init__(folder, **settings)
        self.firestore_port = stack.firestore_port
        self.environment |= self.firestore_environment
        self.submitter = folder.name
        self._key = self.new_key(self.submitter, "submit,read,admin")

    def start(self, *options: str) -> None:
        """Start the API with options of its command, and wait until it is ready."""
        self._start("graphql_api", *options)

    @property
    def key(self) -> str:
        """The key of the submitter."""
        return self._key
