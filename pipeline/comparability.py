"""Whether this run's rows mean the same as the last committed ones.

Another salt, profile or set of rules gives other pseudonyms or columns for the same people, and a newer version with
another default other records: history would split without anybody noticing. So such a run has to be asked for.
"""

from config.changed_defaults import is_later
from pipeline.equipment import Identity
from pipeline.errors import ConfigurationError
from pipeline.history import sealed_runs
from pipeline.ports import StateStore


async def check_comparable(state: StateStore, identity: Identity) -> None:
    """Compare with the last sealed run of this state location; without one everything is fine.

    Raises:
        ConfigurationError: one fault for each difference, with what to do.
    """
    for last in await sealed_runs(state, limit=1):
        differences = []
        if last.salt_fingerprint != identity.salt_fingerprint:
            differences.append(
                f"privacy.salt: its fingerprint is {identity.salt_fingerprint}, was {last.salt_fingerprint}"
            )
        if last.profile != identity.profile:
            differences.append(f"privacy.profile: is {identity.profile}, was {last.profile}")
        elif last.rules_fingerprint != identity.rules_fingerprint:
            differences.append(
                f"privacy: rules or options differ: {identity.rules_fingerprint}, was {last.rules_fingerprint}"
            )
        differences += [
            f"{change.key}: its default is {change.now} since version {change.since}, was {change.was}; "
            f"to keep it, write `{change.was}` into the settings"
            for change in identity.changed_defaults
            if is_later(change.since, last.tool_version)
        ]
        if differences:
            raise ConfigurationError(
                *differences,
                f"the last committed run is {last.run_id}; rows written now would not join with its rows. "
                "Undo the change, or accept it with --accept-new-pseudonyms",
            )
