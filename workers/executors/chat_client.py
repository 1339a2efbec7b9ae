"""The call of a chat completions endpoint with the `openai` package.

Import this module lazily: `import openai` takes a second.
"""

import logging
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from openai import AsyncOpenAI, DefaultAioHttpClient, Omit, Timeout, omit
from pydantic import JsonValue

from workers.failures import Failure
from workers.providers.errors import MAX_ERROR, connection_failure, status_failure
from workers.providers.http import CONNECT_SECONDS, read_answer, read_at_most

if TYPE_CHECKING:
    import httpx2

# Whatever OPENAI_LOG says: at its debug level some versions log what they send.
logging.getLogger("openai").setLevel(logging.WARNING)


class ChatClient:
    """A client that calls one endpoint, never twice for one request, and reads a bounded answer.

    There is no limit on time but that for connecting: call it under a deadline.
    """

    def __init__(self, *, base_url: str, api_key: str | None) -> None:
        # Arguments left out would be read from OPENAI_*, from the proxies' variables or ~/.netrc.
        self._openai = _OpenAI(
            base_url=base_url,
            api_key=api_key or "",
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            timeout=Timeout(None, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
            max_retries=0,
            http_client=DefaultAioHttpClient(
                trust_env=False,
                verify=ssl.create_default_context(),
                follow_redirects=False,
                event_hooks={"response": [_refuse_errors]},
            ),
        )
        self._headers: dict[str, str | Omit] = {} if api_key else {"Authorization": omit}

    async def complete(self, model: str, request: Mapping[str, JsonValue], *, headers: Mapping[str, str]) -> bytes:
        """The body of a successful answer to `POST /chat/completions`, as it came.

        Raises `Failure` for everything that the provider or the network did.
        """
        # As `extra_body`, because what callers sent is for the provider to judge, not for openai.
        call = self._openai.chat.completions.with_streaming_response.create(
            model=model,
            messages=[],
            extra_body=request,
            extra_headers={**self._headers, **headers},
        )
        try:
            async with call as response:
                return await read_answer(response.iter_bytes())
        except Failure:
            raise
        except Exception as error:
            if failure := connection_failure(error):
                raise failure from error
            if isinstance(error, ValueError | RecursionError):
                # An input may hold what JSON cannot: 1e400, half a surrogate pair, endless depth.
                said = f"input: cannot be sent as JSON: {type(error).__name__}"
                raise Failure("invalid_input", said) from None
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._openai.close()


class _OpenAI(AsyncOpenAI):
    """Sends these headers and the key, none of OPENAI_CUSTOM_HEADERS, _ORG_ID or _PROJECT_ID."""

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        return {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            # A kept connection that the provider closes just as we use it would look like an
            # outage, and pause the provider; a handshake costs nothing next to inference.
            "Connection": "close",
            "Content-Type": "application/json",
            "User-Agent": "aiserv",
        }


async def _refuse_errors(response: "httpx2.Response") -> None:
    # In a hook, because openai itself would read the body of an error without any bound.
    if not response.is_success:
        body = await read_at_most(MAX_ERROR, response.aiter_bytes())
        raise status_failure(response.status_code, response.headers, body)
