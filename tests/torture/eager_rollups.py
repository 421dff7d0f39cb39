"""The function, except that it builds rollups also for few results, while many arrive, and in many small steps."""

from functools import partial

from starlette.types import ASGIApp

from triggers import app
from triggers.rollups import workload
from triggers.rollups.endpoint import RollupsEndpoint


def create_app() -> ASGIApp:
    """Return the application."""
    workload.MAX_BUSY_RESULTS = 1_000_000
    workload.MAX_STEP_RESULTS = 200
    vars(app)["RollupsEndpoint"] = partial(RollupsEndpoint, min_results=1)
    return app.create_app()
