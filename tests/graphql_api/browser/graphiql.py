"""GraphiQL in a real browser, as its user sees it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

T = TypeVar("T")
PLAY = ".graphiql-execute-button"


class GraphiQL:
    """The page, and what its user reads and presses."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def go_to(self, url: str) -> None:
        """Go to the page, whatever becomes of it."""
        self._driver.get(url)

    def open(self, url: str) -> None:
        """Go to the page and wait until it can be used."""
        self.go_to(url)
        self.wait_for(lambda: self.text(PLAY) is not None and self.text(".graphiql-query-editor .view-line"))

    def press(self, selector: str, text: str = "") -> None:
        """Press the first element that matches and has this text in it, once it is there."""

        def press() -> bool:
            for element in self._driver.find_elements(By.CSS_SELECTOR, selector):
                if text in element.text:
                    element.click()
                    return True
            return False

        self.wait_for(press)

    def play(self) -> None:
        """Run the operation of the current tab, or stop it."""
        self.press(PLAY)

    def show_tab(self, name: str) -> None:
        """Change to the tab of this name."""
        self.press(".graphiql-tab-button", name)

    def write(self, selector: str, text: str) -> None:
        """Write into an input field."""
        self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

    def text(self, selector: str) -> str | None:
        """Return what can be read in the elements that match, or None where there are none."""
        elements = self._driver.find_elements(By.CSS_SELECTOR, selector)
        return " ".join(" ".join(element.text.split()) for element in elements) if elements else None

    def answer(self) -> str:
        """Return what can be read on the right-hand side."""
        return self.text(".graphiql-response .view-lines") or ""

    def wait_for_answer(self, pattern: str) -> re.Match[str]:
        """Return the match once the answer matches."""
        return self.wait_for(lambda: re.search(pattern, self.answer()))

    def wait_for(self, condition: Callable[[], T | None]) -> T:
        """Return what the condition gives once it gives something."""
        wait = WebDriverWait(self._driver, 30, 0.1, [StaleElementReferenceException])
        try:
            return wait.until(lambda _: condition() or False)
        except Exception as error:
            error.add_note(f"The page reads: {self.text('body')}")
            error.add_note(f"The console reads: {self.console()}")
            raise

    def console(self) -> list[str]:
        """Return what the console has said since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def hosts(self) -> set[str]:
        """Return the hosts that anything was asked from since the last call."""
        return {host for url in self._requested() if (host := urlsplit(url).netloc) and not url.startswith("chrome")}

    def _requested(self) -> Iterator[str]:
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                yield message["params"]["request"]["url"]
            elif message["method"] == "Network.webSocketCreated":
                yield message["params"]["url"]

    def _log(self, name: str) -> Any:
        return self._driver.get_log(name)  # type: ignore[no-untyped-call]
