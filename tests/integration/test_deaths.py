"""A real process is killed at a chosen step of what a store sees; the next command of the kind puts everything right.

`tests/long/test_deaths.py` does so at every step.
"""

import signal
from pathlib import Path

import pytest

from tests.integration.deaths import Victim, scene
from tests.integration.doomed import Fate
from tests.integration.ground import s3_ground

# Where one thing has just been made sure of, and the next one not yet.
DECISIVE = (  # RUN stands for the run's id
    "after replace open/run.json",
    "after begin mail_messages/",
    "after create open/run/RUN/journal/mail_messages-00001.json",
    "after publish mail_messages/",
    "after create open/run/RUN/journal/mail_messages-00002.outcome",
    "after create open/run/RUN/seal-0001",
    "after publish _manifests/RUN.json",
    "after replace watermarks/",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_process_that_is_killed_at_a_decisive_step_is_continued(tmp_path: Path) -> None:
    """On S3: whatever was sure stays, and whatever was not is made sure."""
    with s3_ground(tmp_path) as s3:
        async with scene(tmp_path, s3, users=2) as here:
            for number, step in enumerate(DECISIVE):
                victim = Victim(here, f"death-{number}")
                assert await victim.die(Fate(signal.SIGKILL, at_step=step)), step
                await victim.recover()
