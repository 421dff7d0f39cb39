"""A real browser: its text, its controls and its requests."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.stack import PATIENCE_SECONDS, Stack

T = TypeVar("T")


class Browser:
    """A browser with at most one open page."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver
        self._events: list[dict[str, Any]] = []

    def go_to(self, url: str) -> None:
        """Navigate to a page without waiting for its content."""
        self._driver.get(url)

    def sign_in(self, stack: Stack, key: str | None = None) -> None:
        """Give the browser a session of a key, by default the stack's, in a cookie that scripts cannot read."""
        [cookie] = httpx.post(f"{stack.url}/session", headers={"x-api-key": key or stack.key}).cookies.jar
        self.command(
            "Network.setCookie", url=stack.url, name=cookie.name, value=cookie.value, httpOnly=True, sameSite="Strict"
        )

    @property
    def address(self) -> str:
        """The URL of the page."""
        return self._driver.current_url

    def press(self, selector: str, text: str = "") -> None:
        """Wait for an element that matches and contains this text, and click it."""

        def press() -> bool:
            for element in self._driver.find_elements(By.CSS_SELECTOR, selector):
                if text in element.text:
                    element.click()
                    return True
            return False

        self.wait_for(press)

    def point(self, selector: str) -> None:
        """Move the pointer to the middle of an element."""
        ActionChains(self._driver).move_to_element(self._driver.find_element(By.CSS_SELECTOR, selector)).perform()

    def write(self, selector: str, text: str) -> None:
        """Type into an input field. For a file field the text is a path."""
        self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

    def type_into(self, selector: str, text: str) -> None:
        """Click the visible element that matches, and type. An editor is not an input field."""
        [element] = self._driver.find_elements(By.CSS_SELECTOR, selector)
        ActionChains(self._driver).click(element).send_keys(text).perform()

    def text(self, selector: str) -> str | None:
        """Return the visible text of all matching elements, or None if there are none."""
        elements = self._driver.find_elements(By.CSS_SELECTOR, selector)
        return " ".join(" ".join(element.text.split()) for element in elements) if elements else None

    def attributes(self, selector: str, name: str) -> list[str]:
        """Return an attribute of each matching element."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.getAttribute(arguments[1]))"
        values: list[str] = self.run(script, selector, name)
        return values

    def run(self, script: str, *arguments: object) -> Any:
        """Return the value that a script returns."""
        return self._driver.execute_script(script, *arguments)

    def run_async(self, script: str) -> Any:
        """Return the value that a script passes to its callback."""
        return self._driver.execute_async_script(script)

    def command(self, method: str, **parameters: object) -> None:
        """Send a command of the Chrome DevTools protocol."""
        self._driver.execute_cdp_cmd(method, parameters)

    def wait_for(self, condition: Callable[[], T | None]) -> T:
        """Poll a condition until it returns a true value, and return that value."""
        wait = WebDriverWait(self._driver, PATIENCE_SECONDS, 0.1, [StaleElementReferenceException])
        try:
            return wait.until(lambda _: condition() or False)
        except Exception as error:
            error.add_note(f"Text of the page: {self.text('body')}")
            error.add_note(f"Console: {self.console()}")
            raise

    def console(self) -> list[str]:
        """Return the console messages since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def hosts(self) -> set[str]:
        """Return the hosts of all requests."""
        urls = [event["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        urls += [event["url"] for event in self._of("Network.webSocketCreated")]
        return {host for url in urls if (host := urlsplit(url).netloc) and not url.startswith("chrome")}

    def statuses(self, path: str) -> list[int]:
        """Return the statuses of the responses to requests whose path and query start with this text."""
        responses = [event["response"] for event in self._of("Network.responseReceived")]
        return [
            response["status"]
            for response in responses
            if urlsplit(response["url"])._replace(scheme="", netloc="").geturl().startswith(path)
        ]

    def sockets(self) -> int:
        """Return the number of WebSockets that were opened."""
        return len(list(self._of("Network.webSocketCreated")))

    def received(self) -> list[Any]:
        """Return the messages that were received over WebSockets, in order."""
        return [json.loads(event["response"]["payloadData"]) for event in self._of("Network.webSocketFrameReceived")]

    def _of(self, method: str) -> Iterator[dict[str, Any]]:
        self._events += [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return (event["params"] for event in self._events if event["method"] == method)

    def _log(self, name: str) -> Any:
        return self._driver.get_log(name)  # type: ignore[no-untyped-call]
