"""The interface of a kind of credential, which the authenticator uses."""

from typing import NamedTuple, Protocol

from graphql_api.auth.caller import Caller


class FoundCaller(NamedTuple):
    """The caller to whom a credential belongs, and for how many seconds from now the credential is valid."""

    caller: Caller
    valid_seconds: float


class CredentialSource(Protocol):
    """Finds callers by one kind of credential."""

    @property
    def kind(self) -> str:
        """The name of this kind of credential. Each kind has its own limits on credentials that are not valid."""

    @property
    def is_revocable(self) -> bool:
        """Whether a credential can become invalid before it expires. If so, it is read again every few seconds."""

    def recognizes(self, text: str) -> bool:
        """Return whether `text` has the form of such a credential."""

    async def was_stored(self, text: str) -> bool:
        """Return whether the credential is in a list of all credentials of this kind. Return False without such a list.

        The list is up to some seconds old. Calls share it, so few calls read from Firestore. Raises `Unavailable`.
        """

    async def find(self, text: str) -> FoundCaller | None:
        """Return the caller, or None if the credential is not valid now.

        Raises `Unavailable` if the credential cannot be checked now.
        """
