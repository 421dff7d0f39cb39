"""GraphiQL in a real browser."""

import re

from tests.graphql_api.web.browser import Browser

PLAY = ".graphiql-execute-button"


class GraphiQL(Browser):
    """The page, and what its user reads and presses."""

    def open(self, url: str) -> None:
        """Go to the page and wait until it can be used."""
        self.go_to(url)
        self.wait_until_usable()

    def wait_until_usable(self) -> None:
        """Wait until there is a query and a button to run it."""
        self.wait_for(lambda: self.text(PLAY) is not None and self.text(".graphiql-query-editor .view-line"))

    def play(self) -> None:
        """Run the operation of the current tab, or stop it."""
        self.press(PLAY)

    def show_tab(self, name: str) -> None:
        """Change to the tab of this name."""
        self.press(".graphiql-tab-button", name)

    def answer(self) -> str:
        """Return what can be read on the right-hand side."""
        return self.text(".graphiql-response .view-lines") or ""

    def wait_for_answer(self, pattern: str) -> re.Match[str]:
        """Return the match once the answer matches."""
        return self.wait_for(lambda: re.search(pattern, self.answer()))
