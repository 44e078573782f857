"""`verify`: whether what was published is still what the manifest says."""

import asyncio
import os

from config.load import load_reader_settings
from pipeline.cli.console import Globals, out
from pipeline.cli.settings import existing_settings_file
from pipeline.exits import Exit
from pipeline.verification import verify_export


def verify(options: Globals, *, run_id: str | None) -> Exit:
    settings = load_reader_settings(existing_settings_file(options), environ=os.environ)
    verified = asyncio.run(verify_export(settings, run_id))
    console = out()
    for difference in verified.differences:
        console.print(str(difference), markup=False)
    looked_at = f"{verified.parts:,} parts, {verified.rows:,} rows, {verified.bytes:,} bytes read"
    found = len(verified.differences)
    verdict = f"{found:,} differences" if found else "as the manifest says"
    console.print(f"run {verified.run_id}: {verdict}; {looked_at}")
    return Exit.PARTIAL if found else Exit.COMPLETE
