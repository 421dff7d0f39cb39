"""All that may differ between deployments; the defaults suit one machine and are safe."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.config import Config

FIXTURE = Path(__file__).parent.parent / "fixture" / "sample.json"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`write_timeout_seconds` is read from `DROPZONE_WRITE_TIMEOUT_SECONDS`, and so on."""

    host: str = "127.0.0.1"
    api_port: int = 8000
    max_sample_mib: int = 64
    write_timeout_seconds: float = 10.0
    max_pending_writes_mib: int = 256  # when more waits for Firestore, a submission is told to come later
    shards: int = 1  # of the indexes that grow with time, about 500 writes a second each; never lower it
    default_time_zone: str = ""  # such as Europe/Zurich: for sources that give no UTC offset
    key_cache_seconds: float = 5.0  # a revoked key works no longer than this
    max_buffered_results: int = 4_000  # results held for those who watch a submitter; behind them is Firestore
    allowed_origins: str = ""  # of other web pages that may connect, separated by commas
    local_key_file: str = ""  # handed to the GraphiQL page on loopback; the embedded stack sets it

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings that the environment names. Raises `ValueError` that names a wrong one."""
        read = Config(environ=environ, env_prefix="DROPZONE_")
        values: dict[str, Any] = {
            f.name: read(f.name.upper(), cast=type(f.default), default=f.default) for f in fields(cls)
        }
        return cls(**values)

    def __post_init__(self) -> None:
        """Refuse at the start what would refuse every request later."""
        least = {
            "max_sample_mib": 1,
            "write_timeout_seconds": 0.1,
            "max_pending_writes_mib": self.max_sample_mib,
            "shards": 1,
            "key_cache_seconds": 0,
            "max_buffered_results": 1,
        }
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(f"DROPZONE_{name.upper()} must be at least {limit}, not {getattr(self, name)}")
        try:
            ZoneInfo(self.default_time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"DROPZONE_DEFAULT_TIME_ZONE names no time zone: {self.default_time_zone}") from None

    @property
    def max_sample_bytes(self) -> int:
        """The most that one request may hold, once decompressed."""
        return self.max_sample_mib * 2**20

    @property
    def local_key_path(self) -> Path | None:
        """Where the key for the GraphiQL page is, if this is the embedded stack."""
        return Path(self.local_key_file) if self.local_key_file else None
