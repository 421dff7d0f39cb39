"""A real browser, as its user sees it: what can be read, pressed and written, and what was asked from whom."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

T = TypeVar("T")


class Browser:
    """A browser with one page open, or none yet."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver
        self._events: list[dict[str, Any]] = []

    def go_to(self, url: str) -> None:
        """Go to a page, whatever becomes of it."""
        self._driver.get(url)

    @property
    def address(self) -> str:
        """The address of the page."""
        return self._driver.current_url

    def press(self, selector: str, text: str = "") -> None:
        """Press the first element that matches and has this text in it, once it is there."""

        def press() -> bool:
            for element in self._driver.find_elements(By.CSS_SELECTOR, selector):
                if text in element.text:
                    element.click()
                    return True
            return False

        self.wait_for(press)

    def write(self, selector: str, text: str) -> None:
        """Write into an input field; into one for files, the path of a file."""
        self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

    def text(self, selector: str) -> str | None:
        """Return what can be read in the elements that match, or None where there are none."""
        elements = self._driver.find_elements(By.CSS_SELECTOR, selector)
        return " ".join(" ".join(element.text.split()) for element in elements) if elements else None

    def attributes(self, selector: str, name: str) -> list[str]:
        """Return an attribute of each element that matches."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.getAttribute(arguments[1]))"
        found: list[str] = self.run(script, selector, name)
        return found

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script returns."""
        return self._driver.execute_script(script, *arguments)

    def run_later(self, script: str) -> Any:
        """Return what a script hands to its callback."""
        return self._driver.execute_async_script(script)

    def command(self, name: str, **parameters: object) -> None:
        """Give a command of Chrome's DevTools protocol."""
        self._driver.execute_cdp_cmd(name, parameters)

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
        """Return the hosts that anything was asked from."""
        urls = [event["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        urls += [event["url"] for event in self._of("Network.webSocketCreated")]
        return {host for url in urls if (host := urlsplit(url).netloc) and not url.startswith("chrome")}

    def answered(self, path: str) -> list[int]:
        """Return the statuses of the answers from addresses that begin with this path."""
        answers = [event["response"] for event in self._of("Network.responseReceived")]
        return [
            answer["status"]
            for answer in answers
            if urlsplit(answer["url"])._replace(scheme="", netloc="").geturl().startswith(path)
        ]

    def sockets(self) -> int:
        """Return how many WebSockets were opened."""
        return len(list(self._of("Network.webSocketCreated")))

    def received(self) -> list[Any]:
        """Return the messages that came over WebSockets, in their order."""
        return [json.loads(event["response"]["payloadData"]) for event in self._of("Network.webSocketFrameReceived")]

    def _of(self, method: str) -> Iterator[dict[str, Any]]:
        self._events += [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return (event["params"] for event in self._events if event["method"] == method)

    def _log(self, name: str) -> Any:
        return self._driver.get_log(name)  # type: ignore[no-untyped-call]
