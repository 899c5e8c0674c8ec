"""What LiteLLM 1.106.2 gets wrong in chat completions of OpenAI's models, put right in its own code. Used by mends.py.

tests/e2e/test_node_sdks.py tells when one of these is no longer needed, or no longer fits.
"""

from __future__ import annotations

from typing import Any


def mend_chat() -> None:
    raise_what_no_parameter_explains()
    keep_refusals()


def raise_what_no_parameter_explains() -> None:
    """Has a 422 of OpenAI's be an error. Left to itself LiteLLM (with `drop_params`) takes out the parameters that the
    422 names and asks again, once; where it names none, or the second answer is a 422 too, the client gets 200 with
    `null` for a body, or 500 for a stream."""
    from litellm.llms.openai import openai as handler

    drop = handler.drop_params_from_unprocessable_entity_error

    def drop_or_raise(error: Any, data: Any) -> Any:
        kept = drop(error, data)
        if len(kept) == len(data):
            raise error
        return kept

    handler.drop_params_from_unprocessable_entity_error = drop_or_raise


def keep_refusals() -> None:
    """Has a refusal reach the client as `message.refusal` and `delta.refusal`. Left to itself LiteLLM moves the first
    out of OpenAI's SDKs' sight, into `provider_specific_fields`, and takes a stream's pieces for empty ones."""
    from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
    from litellm.types.utils import Message

    make, is_non_empty = Message.__init__, CustomStreamWrapper.is_chunk_non_empty

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        fields = named.get("provider_specific_fields")
        if fields and fields.get("refusal") is not None:
            self.refusal = fields["refusal"]

    def is_chunk_non_empty(self: Any, completion: Any, response: Any, chunk: Any) -> bool:
        return is_non_empty(self, completion, response, chunk) or _is_refusing(chunk.get("original_chunk"))

    Message.__init__ = init
    CustomStreamWrapper.is_chunk_non_empty = is_chunk_non_empty


def _is_refusing(chunk: Any) -> bool:
    """Whether a chunk of OpenAI's brings a piece of a refusal."""
    return any(getattr(choice.delta, "refusal", None) for choice in getattr(chunk, "choices", None) or ())
