"""When the agent asks for runs, and what becomes of each run that it is given."""

import logging
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from yardmaster.agent.held import Held, Reason, WorkStopped
from yardmaster.agent.logs import LogStream
from yardmaster.agent.results import deliver, finish, keep, settle
from yardmaster.agent.spool import KeptClaim, KeptResult, KeptRun
from yardmaster.agent.state import Agent
from yardmaster.agent.work import (
    RunContext,
    failed,
    masker_for,
    with_own_credentials,
    work,
)
from yardmaster.client import Answer, PortalError, Refused, RunGone, TryAgain, Unauthorized
from yardmaster.sdk import Failed

log = logging.getLogger("yardmaster")

# What one claim may ask for; more slots are filled by the next one.
MOST_RUNS = 64
FINAL = frozenset({"completed", "failed", "canceled", "timed_out"})
RESTARTED = failed(
    "The agent was restarted while the run was going on.",
    "The agent program ended without warning (a crash, a power cut or a kill) and found the run"
    " unfinished when it started again. No work is begun twice.",
    reason="agent_restarted",
)


def claim_until_stopped(agent: Agent) -> None:
    """Take runs while slots are free, when the portal hints at work and now and then besides."""
    claim_id: str | None = None
    while not agent.stopping.is_set():
        agent.wake.clear()
        free = agent.slots() - len(agent.working())
        if free > 0 and not agent.settings.drain:
            try:
                # An id that brought nothing is known to nobody, and serves again.
                claim_id = claim_id or agent.spool.new_claim()
                answer = _ask(agent, claim_id, free)
                if _take(agent, claim_id, answer, {}):
                    claim_id = None
                    continue
            except Unauthorized:
                agent.refuse_token()
                return
            except RunGone as gone:
                log.warning("A claim was lost: %s", gone)
                agent.spool.forget_claim(str(claim_id))
                claim_id = None
            except TryAgain:
                # Given up because the agent stops.
                return
            except Refused as refused:
                log.error("The portal refused a claim: %s", refused)
            except OSError as error:
                log.error("No run can be claimed, since the spool cannot be written: %s", error)
        if not agent.stopping.is_set():
            agent.wake.wait(agent.settings.poll_s * random.uniform(0.75, 1.25))


def resume(agent: Agent) -> None:
    """Take up what an earlier process left: ask for its claims again, send its results again.

    A run past `claimed` without a result is reported failed, since its work may have begun; one
    that is still `claimed` has not begun and is begun now.
    """
    results = {(kept.id, kept.attempt): kept for kept in agent.spool.results()}
    for claim in agent.spool.claims():
        if agent.stopping.is_set():
            return
        try:
            free = max(1, agent.slots() - len(agent.working()))
            answer = _ask(agent, claim.claim_id, free)
            if not _take(agent, claim.claim_id, answer, results):
                _drop(agent, claim, results)
        except Unauthorized:
            agent.refuse_token()
            return
        except TryAgain:
            return
        except (RunGone, Refused) as error:
            log.warning("An earlier claim is not this agent's any more: %s", error)
            _drop(agent, claim, results)
    for kept in results.values():
        agent.spawn(f"result {kept.id[:8]}", partial(deliver, agent, kept))


def _ask(agent: Agent, claim_id: str, most: int) -> Answer:
    return agent.client.send_until(
        agent.stopping.is_set,
        agent.sleep_until_stopping,
        "POST",
        "/agent/claims",
        json={"claim_id": claim_id, "max": min(most, MOST_RUNS)},
    )


def _take(
    agent: Agent,
    claim_id: str,
    answer: Answer,
    results: dict[tuple[str, int], KeptResult],
) -> bool:
    """Keep which runs a claim brought, and deal with each; return whether there were any."""
    runs = [{**run, "claim_id": claim_id} for run in answer.body.get("runs") or ()]
    if not runs:
        return False
    agent.spool.note_runs(claim_id, [KeptRun(str(r["id"]), int(r["attempt"])) for r in runs])
    for run in runs:
        held = Held(run, answer.sent_at)
        kept = results.pop(held.key, None)
        if kept is None and held.stage in FINAL:
            settle(agent, held.id, held.attempt, claim_id)
        elif agent.hold(held):
            if kept is not None:
                agent.free_slot(held)
                agent.spawn(f"run {held.id[:8]}", partial(_send_again, agent, held, kept))
            elif held.stage == "claimed":
                agent.spawn(f"run {held.id[:8]}", partial(_carry_out, agent, held))
            else:
                masker = masker_for(agent.tools, run)
                agent.spawn(f"run {held.id[:8]}", partial(finish, agent, held, RESTARTED, masker))
    return True


def _drop(agent: Agent, claim: KeptClaim, results: Mapping[tuple[str, int], KeptResult]) -> None:
    """Let go of a claim that the portal does not give again.

    One of its runs may be another attempt's by now, while the rest is still held: each is
    reported, and the portal knows which.
    """
    if not claim.runs:
        agent.spool.forget_claim(claim.claim_id)
    for run in claim.runs:
        if (run.id, run.attempt) not in results:
            kept = keep(agent, run.id, run.attempt, claim.claim_id, RESTARTED)
            agent.spawn(f"result {run.id[:8]}", partial(deliver, agent, kept))


def _send_again(agent: Agent, held: Held, kept: KeptResult) -> None:
    if deliver(agent, kept):
        agent.release(held)


def _carry_out(agent: Agent, held: Held) -> None:
    """Start a claimed run, do its work and see to its ending."""
    masker = masker_for(agent.tools, held.run)
    stream: LogStream | None = None
    try:
        held.run = with_own_credentials(agent.folder, held.run)
        masker = masker_for(agent.tools, held.run)
        # No work begins before this is answered with 2xx.
        held.start(agent.client)
        log.info("Run %s: %s of %s", held.id, held.run["function"], _target_name(held.run))
        agent.write_status()
        limits = agent.settings.limits
        stream = LogStream(agent.client, held.path, masker, limits["log_bytes"])
        context = RunContext(held, agent.client, stream, agent.folder, limits, masker)
        finish(agent, held, work(agent.tools, held, context), masker, stream)
    except WorkStopped as stopped:
        _let_go(agent, held, stopped.reason, stream)
    except Failed as failure:
        finish(agent, held, failed(failure.message, failure.error), masker, stream)
    except PortalError as error:
        finish(agent, held, failed(f"The run could not be started: {error}"), masker, stream)
    except Exception as error:
        log.exception("Run %s could not be carried out", held.id)
        words = f"The agent itself failed: {type(error).__name__}: {error}"
        finish(agent, held, failed(words), masker, stream)


def _let_go(agent: Agent, held: Held, reason: Reason, stream: LogStream | None) -> None:
    """See to a run whose ending is not this agent's to report."""
    log.warning("Run %s: work stopped (%s)", held.id, reason.value)
    if reason is Reason.UNAUTHORIZED:
        agent.free_slot(held)
        agent.refuse_token()
        return
    if reason is Reason.SHUTDOWN:
        # Stopped before its start was answered: the next process asks whether it is running.
        agent.free_slot(held)
        return
    if reason is Reason.DEADLINE:
        # The portal's sweep ends it as timed out; until it has, the run stays held.
        if stream is not None:
            stream.write("The run's time limit is over: the agent stopped the work.\n")
            stream.close(agent.ending.is_set, 5.0)
        agent.free_slot(held)
        if not held.wait_until_gone():
            return
    elif stream is not None:
        stream.close(lambda: True, 0.0)
    settle(agent, held.id, held.attempt, held.claim_id)
    agent.release(held)


def _target_name(run: Mapping[str, Any]) -> str:
    return str((run.get("target") or {}).get("name") or "no target")
