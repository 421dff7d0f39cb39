"""The composition root: creates the ASGI application from settings, and all services that it uses.

To add an endpoint, write its module in `endpoints/` and add it to the list in `create_app`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware

from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.authenticator import UNKNOWN_KEY, Authenticator
from graphql_api.auth.credential_source import CredentialSource
from graphql_api.auth.key_manager import KeyManager
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.sessions import SessionStore
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.identity_providers import parse_issuers, parse_scopes
from graphql_api.configuration.network_settings import parse_origins
from graphql_api.configuration.settings import Settings
from graphql_api.endpoints.endpoint import public
from graphql_api.endpoints.health import HealthEndpoints
from graphql_api.endpoints.metrics import metrics_endpoint, update_process_metrics
from graphql_api.endpoints.middleware.cross_origin import allow_origins
from graphql_api.endpoints.middleware.exception_handlers import ErrorResponder
from graphql_api.endpoints.middleware.request_recorder import PROBE_ROUTES, RequestRecorder
from graphql_api.endpoints.protected_resource import challenges, protected_resource_endpoint
from graphql_api.endpoints.provider_sign_in import ProviderSignInEndpoints
from graphql_api.endpoints.results import results_endpoint
from graphql_api.endpoints.sample_result import sample_result_endpoint
from graphql_api.endpoints.samples import SampleEndpoints
from graphql_api.endpoints.sessions import SessionEndpoints
from graphql_api.graphql_server import GraphQLEndpoint, GraphQLSettings
from graphql_api.graphql_server.requests.request_headers import key_in, path_in
from graphql_api.ingest.daily_usage import DailyUsage
from graphql_api.ingest.receiver import Receiver
from graphql_api.ingest.submitter_settings import SubmitterSettings
from graphql_api.live.live_results import LiveResults
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.recomputation.recomputation_store import RecomputationStore
from graphql_api.results.recomputation.recomputer import Recomputer
from graphql_api.results.store import Store
from graphql_api.schema.context import Context
from graphql_api.schema.executable_schema import executable_schema
from graphql_api.web.pages import dashboard_page, graphiql_page
from observability.metrics import remove_dead_processes
from runtime.memory_release import release_memory
from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.firestore.writes.write_probe import WriteProbe

if TYPE_CHECKING:  # importing joserfc, cryptography and aiohttp takes a quarter of the start; see `_access_tokens`
    from graphql_api.auth.oauth.access_tokens import AccessTokens
    from graphql_api.auth.oauth.code_flow import CodeFlow

_FIXTURE = Path(__file__).parent.parent / "fixture" / "sample.json"

MAX_WRITE_AGE_SECONDS = 30.0
"""How long a successful write proves that Firestore accepts writes. After this time, `/readyz` sends a test write."""


def create_app(settings: Settings) -> Starlette:
    """Return the application. Its lifespan opens and closes all connections.

    `app.state.end_streams` ends the open event streams. On shutdown, the server calls it before it waits for open
    responses.
    `app.state.budgets` limits the connections of the server, and `app.state.client_of` says who opens them.
    `app.state.endpoints` lists all endpoints, with the scope that each endpoint requires.
    """
    graphql_settings = GraphQLSettings(
        max_body_bytes=settings.max_sample_bytes,
        max_operation_cost=settings.limits.max_operation_cost,
        allowed_origins=parse_origins(settings.allowed_origins),
    )
    budgets = Budgets(settings.limits)
    services = _Services(settings, budgets)
    provider = urlsplit(parse_issuers(settings.oidc_issuers)[0].url).netloc if settings.can_sign_in else None
    dashboard = dashboard_page(_FIXTURE, provider=provider)
    graphiql = graphiql_page(_FIXTURE, provider=provider)
    authentication = challenges(settings)
    errors = ErrorResponder(authentication)
    graphql = GraphQLEndpoint(
        executable_schema(),
        partial(Context.create, services),
        graphql_settings,
        graphiql.respond,
        budgets.memory,
        challenges=authentication,
    )
    endpoints = [
        *map(public, graphql.routes),  # each root field of an operation checks its scope
        *HealthEndpoints(services, settings.local_key_path).endpoints,
        metrics_endpoint(settings.metrics_sources, services),
        public(dashboard.route),
        public(dashboard.assets),
        public(graphiql.assets),
        protected_resource_endpoint(settings),
        *ProviderSignInEndpoints(services).endpoints,
        *SessionEndpoints(services).endpoints,
        *SampleEndpoints(services, settings.max_request_bytes).endpoints,
        results_endpoint(services),
        sample_result_endpoint(services),
    ]
    routes = [endpoint.route for endpoint in endpoints]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(RequestRecorder, routes, services, errors, allow_origins(graphql_settings.allowed_origins)),
            Middleware(ServerErrorMiddleware, handler=errors.respond),  # inside, so its responses are recorded too
        ],
        exception_handlers=errors.handlers,
        lifespan=services.lifespan,
    )
    app.router.redirect_slashes = False  # the location of a redirect would contain the `Host` header
    app.state.budgets = budgets
    app.state.client_of = services.client_of
    app.state.end_streams = graphql.end_streams
    app.state.endpoints = endpoints
    return app


class _Services:
    """The services of the process.

    The Firestore channel is bound to an event loop. The services are therefore created when the application starts.
    """

    authenticator: Authenticator
    audit_log: AuditLog
    keys: KeyStore
    key_manager: KeyManager
    code_flow: "CodeFlow | None"
    sessions: SessionStore
    receiver: Receiver
    submitter_settings: SubmitterSettings
    store: Store
    live: LiveResults
    recomputer: Recomputer
    deleter: Deleter

    def __init__(self, settings: Settings, budgets: Budgets) -> None:
        self._settings = settings
        self.budgets = budgets

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        del app
        self._open()
        remove_dead_processes()
        tasks = [
            asyncio.create_task(update_process_metrics(lambda: self._writer.pending)),
            asyncio.create_task(release_memory(self._release_caches)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await self._close()

    def _open(self) -> None:
        """Create the services. They belong to the running event loop."""
        settings = self._settings
        self._firestore = Firestore.connect(timeout_seconds=settings.write_timeout_seconds)
        writer = self._writer = GroupCommitWriter(
            self._firestore,
            timeout_seconds=settings.write_timeout_seconds,
            max_pending_bytes=settings.max_pending_writes_mib * 2**20,
        )
        self._write_probe = WriteProbe(self._firestore, writer)
        self.store = Store(self._firestore, self.budgets.turns, shards=settings.shards)
        self.live = LiveResults(
            self._firestore, self.budgets, max_log_length=settings.max_buffered_results, shards=settings.shards
        )
        self.audit_log = AuditLog(self._firestore, writer, self.budgets.turns)
        self.keys = KeyStore(self._firestore, writer, self.audit_log, self.budgets.turns)
        self.key_manager = KeyManager(self.keys, self.audit_log, settings.limits.max_api_keys_per_submitter)
        self.sessions = SessionStore(self._firestore, writer, self.keys, self.audit_log)
        sources: list[CredentialSource] = [self.keys, self.sessions]
        self.code_flow = None
        if settings.oidc_issuers:
            access_tokens = _access_tokens(settings, self.audit_log)
            self.code_flow = _code_flow(settings, access_tokens)
            sources.append(access_tokens)
        self.authenticator = Authenticator(
            sources, self.budgets, self.audit_log, cache_seconds=settings.key_cache_seconds
        )
        self.submitter_settings = SubmitterSettings(self._firestore, settings.retention)
        self._daily_usage = DailyUsage(self._firestore, writer, self.budgets)
        self.receiver = Receiver(
            self._firestore,
            writer,
            self.store.headers,
            self.submitter_settings,
            max_sample_bytes=settings.max_sample_bytes,
            time_zone=settings.default_time_zone or None,
            shards=settings.shards,
            budgets=self.budgets,
        )
        self.deleter = Deleter(self.store, DeletionStore(self._firestore, writer))
        self.recomputer = Recomputer(self.store, RecomputationStore(self._firestore, writer))

    async def _close(self) -> None:
        """End the work of the services, and store the usage of quotas. The connection to Firestore closes last."""
        await self.recomputer.close()
        await self.deleter.close()
        await self.live.close()
        await self.receiver.close()
        await self._daily_usage.close()
        await self._write_probe.close()
        await self._writer.close()
        await self._firestore.close()

    async def _release_caches(self) -> None:
        """Free the budgets of clients that are gone. A single object can keep one MiB of memory in use.

        Keys stay in the cache: a key that was read before is not subject to the limit of failed authentications.
        """
        self.budgets.remove_unused()

    def client_of(self, head: bytes) -> str:
        """Return who has sent the start of a request: a submitter, or a probe by its path. Empty if it is not known."""
        path = path_in(head)
        if path in PROBE_ROUTES:
            return path
        submitter = self.authenticator.known_submitter(key_in(head))
        return "" if submitter == UNKNOWN_KEY else submitter

    async def check_firestore(self, timeout_seconds: float) -> None:
        """Read from Firestore. Unless a write has just succeeded, also write.

        Raises `Unavailable` if either fails. Its message is public, and only the log may have that of Firestore.
        """
        await self._firestore.ping(timeout_seconds)
        try:
            await self._write_probe.check(timeout_seconds, MAX_WRITE_AGE_SECONDS)
        except (FirestoreError, Unavailable) as error:
            problem = f"Firestore returned {error.reason}" if isinstance(error, FirestoreError) else str(error)
            raise Unavailable(f"Firestore does not accept writes: {problem}") from error


def _access_tokens(settings: Settings, audit_log: AuditLog) -> "AccessTokens":
    from graphql_api.auth.oauth.access_tokens import AccessTokens, TokenRules

    rules = TokenRules(
        audience=settings.token_audience,
        submitter_claim=settings.oidc_submitter_claim,
        scope_claim=settings.oidc_scope_claim,
        scopes=parse_scopes(settings.oidc_scopes),
    )
    return AccessTokens(parse_issuers(settings.oidc_issuers), rules, audit_log)


def _code_flow(settings: Settings, access_tokens: "AccessTokens") -> "CodeFlow | None":
    from graphql_api.auth.oauth.code_flow import CodeFlow

    if not settings.can_sign_in:
        return None
    issuer = parse_issuers(settings.oidc_issuers)[0]
    return CodeFlow(
        metadata=access_tokens.metadata_of(issuer),
        client_id=settings.oidc_client_id,
        resource=settings.public_address,
        audience=settings.token_audience,
        scopes=" ".join(parse_scopes(settings.oidc_scopes).values()),
    )
