"""How a run's result is kept, sent until it is acknowledged, and forgotten."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from yardmaster.agent.held import Held
from yardmaster.agent.logs import LogStream
from yardmaster.agent.masking import Masker
from yardmaster.agent.spool import KeptResult
from yardmaster.agent.state import Agent
from yardmaster.agent.work import failed, fit_to_send
from yardmaster.client import PortalError, Refused, RunGone, TryAgain, Unauthorized

log = logging.getLogger("yardmaster")

RESULT_PATIENCE_S = 24 * 3600.0
# A portal that stays away longer has ended the run by then, and takes no log for it.
LOG_PATIENCE_S = 30.0


def finish(
    agent: Agent,
    held: Held,
    body: Mapping[str, Any],
    masker: Masker,
    stream: LogStream | None = None,
) -> None:
    """End a run: keep its result on disk, then send the rest of its log, then the result.

    Only the first ending of a run counts. Blocks until the portal has answered for good.
    """
    if not held.end(body):
        return
    kept = keep(agent, held.id, held.attempt, held.claim_id, fit_to_send(body, masker))
    agent.free_slot(held)
    if stream is not None:
        stream.close(agent.ending.is_set, LOG_PATIENCE_S)
    if deliver(agent, kept):
        agent.release(held)


def keep(
    agent: Agent, run_id: str, attempt: int, claim_id: str, body: Mapping[str, Any]
) -> KeptResult:
    """Keep a result on disk; a disk that takes nothing leaves it in memory."""
    try:
        return agent.spool.keep_result(run_id, attempt, claim_id, body)
    except OSError as error:
        log.error("The result of run %s cannot be kept on disk: %s", run_id, error)
        return KeptResult(run_id, attempt, claim_id, dict(body), time.time())


def deliver(agent: Agent, kept: KeptResult) -> bool:
    """Send a result for up to 24 h; return whether nothing more is to be done for the run.

    Otherwise it stays in the spool, for the next start.
    """
    path = f"/agent/runs/{kept.id}/attempts/{kept.attempt}/result"
    too_old = kept.stored_at + RESULT_PATIENCE_S

    def give_up() -> bool:
        return agent.ending.is_set() or time.time() > too_old

    try:
        agent.client.send_until(give_up, agent.sleep, "PUT", path, json=kept.body)
        log.info("Run %s: %s. %s", kept.id, kept.body["status"], kept.body["message"])
    except Unauthorized:
        agent.refuse_token()
        return False
    except RunGone as gone:
        log.info("Run %s is not this agent's to end: %s", kept.id, gone)
    except Refused as refused:
        if kept.body.get("status") == "completed":
            return deliver(agent, _refused(agent, kept, refused))
        log.error("The portal refused the result of run %s: %s", kept.id, refused)
    except TryAgain as error:
        if time.time() <= too_old:
            return False
        log.error("The result of run %s was not taken in 24 h (%s); dropped.", kept.id, error)
    settle(agent, kept.id, kept.attempt, kept.claim_id)
    return True


def settle(agent: Agent, run_id: str, attempt: int, claim_id: str) -> None:
    """Forget a run in the spool."""
    try:
        agent.spool.settle(run_id, attempt, claim_id)
    except OSError as error:
        # Harmless: the next start asks the portal, which says that the run is final.
        log.warning("The spool still holds run %s: %s", run_id, error)


def _refused(agent: Agent, kept: KeptResult, error: PortalError) -> KeptResult:
    # The portal stored nothing of what it refused, so another body is no conflict.
    body = failed("The portal refused the result of this run.", str(error))
    return keep(agent, kept.id, kept.attempt, kept.claim_id, body)
