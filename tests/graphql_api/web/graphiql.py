"""GraphiQL in a real browser."""

import re

from tests.graphql_api.web.browser import Browser
from tests.stack import Stack

PLAY = ".graphiql-execute-button"


class GraphiQL(Browser):
    """The page with its controls and displayed data."""

    def open(self, stack: Stack, key: str | None = None) -> None:
        """Sign in, navigate to the page and wait until it is usable."""
        self.sign_in(stack, key)
        self.go_to(f"{stack.url}/graphql")
        self.wait_until_usable()

    def wait_until_usable(self) -> None:
        """Wait until the page displays a query and the button to run it."""
        self.wait_for(lambda: self.text(PLAY) is not None and self.text(".graphiql-query-editor .view-line"))

    def play(self) -> None:
        """Run the operation of the current tab, or stop it."""
        self.press(PLAY)

    def show_tab(self, name: str) -> None:
        """Select the tab with this name."""
        self.press(".graphiql-tab-button", name)

    def response(self) -> str:
        """Return the displayed response."""
        return self.text(".graphiql-response .view-lines") or ""

    def wait_for_response(self, pattern: str) -> re.Match[str]:
        """Wait until the displayed response matches, and return the match."""
        return self.wait_for(lambda: re.search(pattern, self.response()))
