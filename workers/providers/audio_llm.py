"""Language models that listen: Qwen2-Audio and Voxtral, behind vLLM's OpenAI-compatible API.

They write text without times, and each has limits that it does not always tell: Qwen2-Audio reads 30 seconds and
ignores the rest, vLLM refuses over 25 MB or 600 seconds, Voxtral refuses stereo in chat. So they get pieces.
"""

import base64
import io
import json
import re
from typing import Final, Literal

import aiohttp
from anyio import to_thread

from workers.audio.decode import Recording
from workers.audio.split import Piece, split, wav_header
from workers.failures import Failure
from workers.providers.chat_answer import Answer
from workers.providers.http import Call, HttpClient
from workers.providers.pieces import Wanted, transcribe_pieces
from workers.providers.transcript import Transcript, heard_text, parse_transcript

# Below the 30 seconds of both models' encoders, so that a piece costs no second window either.
LONGEST_PIECE: Final = 28.0
AT_ONCE: Final = 4

INSTRUCTION: Final = (
    "Transcribe this recording word for word in the language spoken. "
    "Answer with the transcript alone, without comments, translation or quotation marks. "
    "If nobody speaks, answer with nothing."
)

_FENCED: Final = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
_TOKEN: Final = re.compile(r"<\|[^|>]*\|>")
_PREAMBLE: Final = re.compile(
    r"(?:here is |sure[,!.] )?(?:the )?(?:original )?(?:content|transcript|transcription|speech|text)"
    r"(?: (?:of|in) (?:the|this) (?:audio|recording|speech))?(?: is)?\s*:\s*",
    re.IGNORECASE,
)
_QUOTES: Final = ('""', "''", "“”", "«»", "„“")


class AudioLlm:
    """A provider that is called through `/chat/completions`, or where `api` says so `/audio/transcriptions`."""

    def __init__(
        self,
        client: HttpClient,
        *,
        name: str,
        base_url: str,
        model: str,
        max_tokens: int,
        instruction: str | None = None,
        api: Literal["chat", "transcriptions"] = "chat",
    ) -> None:
        self.name = name
        self.model: str | None = model
        self._client = client
        self._base_url = base_url
        self._max_tokens = max_tokens
        self._instruction = instruction or INSTRUCTION
        self._api = api

    async def transcribe(self, recording: Recording, wanted: Wanted) -> Transcript:
        """All that is said, with the times of the pieces."""
        pieces = await to_thread.run_sync(lambda: split(recording, longest=LONGEST_PIECE))

        async def transcribe(piece: Piece, samples: bytes) -> Transcript:
            wav = wav_header(len(samples) // 2) + samples
            if self._api == "chat":
                return await self._chat(wav, piece, wanted)
            return await self._transcription(wav, piece, wanted)

        return await transcribe_pieces(recording, pieces, transcribe, at_once=AT_ONCE)

    async def _chat(self, wav: bytes, piece: Piece, wanted: Wanted) -> Transcript:
        def body() -> io.BytesIO:
            return io.BytesIO(json.dumps(self._request(wav, wanted), ensure_ascii=False).encode())

        answer = Answer.parse(
            await self._client.answer(
                Call(
                    "POST",
                    f"{self._base_url}/chat/completions",
                    service="chat completions",
                    headers={**wanted.headers, "Content-Type": "application/json"},
                    body=body,
                )
            ),
            json_wanted=False,
        )
        if answer.finish_reason == "length":
            said = f"the model ran out of its {self._max_tokens} tokens at {piece.offset:.0f} s of the recording"
            raise Failure("output_truncated", said, usage=answer.usage)
        heard = heard_text(cleaned(answer.content or ""), start=0.0, end=piece.seconds)
        return Transcript(heard.segments, wanted.language, answer.model, answer.usage)

    def _request(self, wav: bytes, wanted: Wanted) -> dict[str, object]:
        url = f"data:audio/wav;base64,{base64.b64encode(wav).decode()}"
        return {
            "model": self.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "audio_url", "audio_url": {"url": url}},
                        {"type": "text", "text": self._prompt(wanted)},
                    ],
                }
            ],
            "max_tokens": self._max_tokens,
            "temperature": 0,
        }

    def _prompt(self, wanted: Wanted) -> str:
        lines = [self._instruction]
        if wanted.language:
            lines.append(f"The language spoken is: {wanted.language}.")
        if wanted.prompt:
            lines.append(f"What helps with names and spelling: {wanted.prompt}")
        return "\n".join(lines)

    async def _transcription(self, wav: bytes, piece: Piece, wanted: Wanted) -> Transcript:
        fields = {"model": self.model, "language": wanted.language, "prompt": wanted.prompt, "temperature": "0"}

        def body() -> aiohttp.FormData:
            form = aiohttp.FormData()
            form.add_field("file", io.BytesIO(wav), filename="audio.wav", content_type="audio/wav")
            form.add_field("response_format", "json")
            for name, value in fields.items():
                if value is not None:
                    form.add_field(name, value)
            return form

        call = Call("POST", f"{self._base_url}/audio/transcriptions", headers=wanted.headers, body=body)
        heard = parse_transcript(await self._client.answer(call), seconds=piece.seconds)
        return Transcript(heard.segments, heard.language or wanted.language, heard.model, heard.usage)


def cleaned(text: str) -> str:
    """What was said, without what models put around it: fences, quotation marks, words about the transcript."""
    text = _TOKEN.sub("", text).strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    if preamble := _PREAMBLE.match(text):
        text = text[preamble.end() :].strip()
    for left, right in _QUOTES:
        inner = text[1:-1]
        if text[:1] == left and text[-1:] == right and len(text) > 1 and left not in inner and right not in inner:
            return inner.strip()
    return text
