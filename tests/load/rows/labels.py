"""Labels and deletion: submits with labels, the latest result of many series, and submits during a deletion."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from msgspec.structs import replace

from storage.documents import Header, Result, Status, document_paths, labels
from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.messages import Write
from tests.load import samples, stack_processes, wrk
from tests.load.firestore_client import Firestore
from tests.load.http_client import Connection
from tests.load.plan import Plan, attempt, repeat
from tests.load.process import Failed
from tests.load.stack_processes import SUBMITTER
from tests.load.table import Figure, Goal, Row
from tests.load.wrk import Target
from tests.received import received_sample
from triggers.computation import summarize

VALUES = 100
CONNECTIONS = 64
TURNS = 3
"""Runs with and without labels, in place of each run of other rows."""
SERIES = 1_000
SENSORS = 50
MAX_PAGE_SECONDS = 0.015
TOGETHER = 500
LABELS = {"site": "zurich", "unit": "V"}
STORED_LABELS = {"site": "zurich", "unit": "degC"}
"""The labels of the samples that are deleted."""
LATEST = '{ latestResults(groupBy: ["sensor"]) { id mean } }'
FILTERED = (
    '{ results(first: 50, filter: {labels: [{name: "site", value: "zurich"}, {name: "sensor", value: "sensor_7"}]})'
    " { edges { cursor node { id timestamp mean } } } }"
)
"""One in fifty of the results that `_store_samples` writes."""
MAX_DELETED = 100_000
"""The first results have samples too. These are deleted by their label `unit`, which other results have not."""
DELETE = "mutation ($labels: [LabelFilter!]) { deleteSamples(filter: {labels: $labels}) { id } }"
PROGRESS = "query ($id: ID!) { deletion(id: $id) { state deleted } }"
EXAMPLE = summarize(np.linspace(-1, 1, VALUES))


def labelled(plan: Plan) -> Iterator[Row]:
    """Measure the API and Firestore without the function."""
    placement = plan.placement
    with stack_processes.firestore(plan.new_folder("labels"), placement.other) as (commands, _):
        headers = {"content-type": "application/json", "x-api-key": commands.key()}
        url = f"http://127.0.0.1:{commands.port('api')}/graphql"
        with commands.api(placement.one):
            plain = samples.sample(VALUES)
            with_labels = plain[:-1] + b', "labels": %b}' % json.dumps(LABELS).encode()
            targets = [Target(url, samples.submission(raw), '"PENDING"', headers) for raw in (plain, with_labels)]
            yield from attempt("submits with two labels", partial(_submits, plan, targets))
            asyncio.run(_store_series(commands.address))
            target = Target(url, json.dumps({"query": LATEST}).encode(), '"latestResults"', headers)
            yield from attempt("the latest of each series", partial(_latest, plan, target))
            asyncio.run(_store_samples(commands.address, plan.documents))
            target = Target(url, json.dumps({"query": FILTERED}).encode(), '"cursor"', headers)
            yield from attempt("50 by two labels", partial(_filtered, plan, target))
            deletion = partial(_deletion, plan, targets[0], commands.port("api"), headers)
            yield from attempt("deletion", deletion)


def _submits(plan: Plan, targets: list[Target]) -> Iterator[Row]:
    """Measure in turns. The rates of single runs differ by 10 %, so the sum of many runs counts."""
    runs: list[list[wrk.Outcome]] = [[], []]
    for _ in range(1 + plan.runs * TURNS):
        for outcomes, target in zip(runs, targets, strict=True):
            seconds, processors = plan.seconds, plan.placement.other
            outcomes.append(wrk.run(target, connections=CONNECTIONS, seconds=seconds, processors=processors))
    without, with_two = (
        sum(each.good for each in outcomes[1:]) / sum(each.seconds for each in outcomes[1:]) for outcomes in runs
    )
    share = with_two / without
    figure = Figure(with_two, "samples/s", f"{share:.0%} of the rate without labels")
    yield Row(
        f"submits of {VALUES} values with two labels, {CONNECTIONS} connections",
        figure,
        goals=[Goal("at most 10 % below the rate without", share >= 0.9)],
    )


def _latest(plan: Plan, target: Target) -> Iterator[Row]:
    ask = partial(wrk.run, target, connections=1, seconds=plan.seconds, processors=plan.placement.other)
    outcome = repeat(plan, ask, by=lambda each: each.p50)
    figure = Figure(outcome.p50 * 1000, "ms", f"p99 {outcome.p99 * 1000:.3g} ms", more_is_better=False)
    yield Row(
        f"the latest result of each of {SERIES:,} series: p50",
        figure,
        goals=[Goal("under 300 ms", outcome.p50 < 0.3)],
    )


def _filtered(plan: Plan, target: Target) -> Iterator[Row]:
    ask = partial(wrk.run, target, connections=1, seconds=plan.seconds, processors=plan.placement.other)
    outcome = repeat(plan, ask, by=lambda each: each.p50)
    figure = Figure(outcome.p50 * 1000, "ms", f"p99 {outcome.p99 * 1000:.3g} ms", more_is_better=False)
    goals = [Goal("under 15 ms", outcome.p50 < MAX_PAGE_SECONDS)]
    yield Row(f"50 by two labels of {plan.documents:,} results: p50", figure, goals=goals)


def _deletion(plan: Plan, target: Target, port: int, headers: dict[str, str]) -> Iterator[Row]:
    """Delete all samples with a label while one client submits others."""
    alone = wrk.run(target, connections=1, seconds=plan.seconds, processors=plan.placement.other)
    count = min(plan.documents, MAX_DELETED)
    seconds, latencies = asyncio.run(_delete_and_submit(target, port, headers, count))
    what = f"deletion of {count:,} samples with results, out of {plan.documents:,}"
    yield Row(what, Figure(count / seconds, "samples/s"))
    median, slow = np.percentile(latencies, [50, 99]) * 1000
    note = f"p99 {slow:.3g} ms; without a deletion {alone.p50 * 1000:.3g} ms, p99 {alone.p99 * 1000:.3g} ms"
    yield Row("submit during the deletion, 1 connection: p50", Figure(float(median), "ms", note, more_is_better=False))


async def _delete_and_submit(
    target: Target, port: int, headers: dict[str, str], count: int
) -> tuple[float, list[float]]:
    """Return the time of the deletion, and the times of the submits meanwhile."""
    admin, submitter = await Connection.open(port, headers), await Connection.open(port, headers)
    pairs = [{"name": name, "value": value} for name, value in STORED_LABELS.items()]
    latencies: list[float] = []
    started = time.perf_counter()
    answer = await admin.graphql(json.dumps({"query": DELETE, "variables": {"labels": pairs}}).encode())
    progress = json.dumps({"query": PROGRESS, "variables": {"id": answer["deleteSamples"]["id"]}}).encode()
    while (state := (await admin.graphql(progress))["deletion"])["state"] == "RUNNING":
        for _ in range(50):
            began = time.perf_counter()
            await submitter.post("/graphql", target.body)
            latencies.append(time.perf_counter() - began)
    seconds = time.perf_counter() - started
    if state["state"] != "FINISHED" or state["deleted"] != count:
        raise Failed(f"the deletion ended as {state}")
    await admin.close()
    await submitter.close()
    return seconds, latencies


async def _store_series(address: str) -> None:
    """Store ten results of each series, as the function writes them."""
    async with Firestore.connect(address, stack_processes.PROJECT) as firestore:
        for turn in range(10):
            for start in range(0, SERIES, TOGETHER // 2):
                writes = []
                for number in range(start, start + TOGETHER // 2):
                    given = {"sensor": f"sensor_{number}"}
                    path = document_paths.series(SUBMITTER, labels.term(given))
                    writes.append(encoding.to_write(firestore.name(path), {"labels": given}))
                    writes.append(_result(firestore, f"series-{number}-{turn}", turn, given))
                await firestore.batch_write(writes)


async def _store_samples(address: str, count: int) -> None:
    """Store results, and the samples that are to be deleted, as API and function write them."""
    async with Firestore.connect(address, stack_processes.PROJECT) as firestore:
        example = received_sample(samples.sample(VALUES), submitter=SUBMITTER, default_labels=STORED_LABELS).header
        for start in range(0, count, TOGETHER // 2):
            writes = []
            for number in range(start, min(count, start + TOGETHER // 2)):
                key, given = f"labelled-{number}", {**STORED_LABELS, "sensor": f"sensor_{number % SENSORS}"}
                if number < MAX_DELETED:
                    sample_id = document_paths.keyed_sample_id(SUBMITTER, key)
                    header: Header = replace(example, id=sample_id, labels=given)
                    path = document_paths.sample(SUBMITTER, header.id)
                    writes.append(encoding.to_write(firestore.name(path), header.fields()))
                else:
                    del given["unit"]
                writes.append(_result(firestore, key, number, given))
            await firestore.batch_write(writes)


def _result(firestore: Firestore, key: str, second: int, given: labels.Labels) -> Write:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    sample_id = document_paths.keyed_sample_id(SUBMITTER, key)
    result = Result(
        SUBMITTER,
        sample_id,
        moment,
        0,
        Status.COMPUTED,
        timestamp=moment,
        statistics=EXAMPLE,
        labels=given,
    )
    # The result belongs to the sample of the same BatchWrite, because both have the same time of submission.
    fields = {**result.fields(), "submitted_at": SERVER_TIME}
    return encoding.to_write(firestore.name(document_paths.result(SUBMITTER, sample_id)), fields)
