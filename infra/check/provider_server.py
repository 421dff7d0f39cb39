"""A replacement for Terraform's Google provider that has only the schema of the provider.

Terraform starts a provider as a process and talks to it over gRPC. With the variable TF_REATTACH_PROVIDERS, Terraform
uses a running server instead. `terraform validate` and `terraform test` with mock providers need only the schema.

This module uses few and small messages of the protocol (tfplugin6), so it encodes them itself.
"""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from infra.check.provider_schema import Attribute, Block, NestedBlock

ADDRESS = "registry.terraform.io/hashicorp/google"
_MODES = {"single": 1, "list": 2, "set": 3}
_PROVIDER = Block(
    [
        Attribute(name=name, type=type_, is_required=False, is_optional=True, is_computed=False)
        for name, type_ in [
            ("project", '"string"'),
            ("region", '"string"'),
            ("billing_project", '"string"'),
            ("user_project_override", '"bool"'),
            ("default_labels", '["map","string"]'),
        ]
    ]
)
"""The arguments of the provider that a configuration here may use."""


@contextmanager
def serve(schemas: Mapping[str, Block], folder: Path) -> Iterator[dict[str, str]]:
    """Serve the schemas on a socket in `folder`. Yields the environment variables for Terraform."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((_Handler(_response(schemas)),))
    socket = folder / "provider.sock"
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    attached = {
        ADDRESS: {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "unix", "String": str(socket)},
        }
    }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps(attached)}
    finally:
        server.stop(None)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Responds to the request for the schema. The response to each validation is empty, which means success."""

    def __init__(self, schema: bytes) -> None:
        self._schema = schema

    def service(self, details: Any) -> Any:
        """Return the handler of a method, or None if the method is not of the provider."""
        service, _, method = str(details.method).strip("/").partition("/")
        if service != "tfplugin6.Provider" or not (method.startswith("Validate") or method in self._responses):
            return None
        response = self._responses.get(method, b"")
        return grpc.unary_unary_rpc_method_handler(lambda request, context: response)

    @property
    def _responses(self) -> dict[str, bytes]:
        return {"GetProviderSchema": self._schema, "ConfigureProvider": b"", "StopProvider": b""}


def _response(schemas: Mapping[str, Block]) -> bytes:
    """Return an encoded GetProviderSchema.Response."""
    response = _message(1, _schema(_PROVIDER))
    for name, block in schemas.items():
        number, type_ = (3, name.removeprefix("data.")) if name.startswith("data.") else (2, name)
        response += _message(number, _message(1, type_.encode()) + _message(2, _schema(block)))
    return response


def _schema(block: Block) -> bytes:
    return _message(2, _block(block))


def _block(block: Block) -> bytes:
    attributes = b"".join(_message(2, _attribute(attribute)) for attribute in block.attributes)
    return attributes + b"".join(_message(3, _nested(nested)) for nested in block.blocks)


def _attribute(attribute: Attribute) -> bytes:
    return (
        _message(1, attribute.name.encode())
        + _message(2, attribute.type.encode())
        + _flag(4, attribute.is_required)
        + _flag(5, attribute.is_optional)
        + _flag(6, attribute.is_computed)
    )


def _nested(nested: NestedBlock) -> bytes:
    encoded = _message(1, nested.name.encode()) + _message(2, _block(nested.block)) + _number(3, _MODES[nested.mode])
    if nested.mode == "single":
        return encoded
    return encoded + _number(4, int(nested.is_required)) + _number(5, int(nested.is_single))


def _message(number: int, content: bytes) -> bytes:
    """Encode a field with bytes, a text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _flag(number: int, value: bool) -> bytes:
    return _number(number, 1) if value else b""


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])
