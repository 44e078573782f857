"""What the Microsoft administrators have to do, generated from the settings: one plan, rendered in four formats."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from config.setup.azure_cli import azure_cli
from config.setup.markdown import markdown
from config.setup.plan import SetupPlan, make_plan
from config.setup.powershell import powershell
from config.setup.terraform import terraform

FORMATS: Mapping[str, Callable[[SetupPlan], str]] = MappingProxyType(
    {"markdown": markdown, "azure-cli": azure_cli, "powershell": powershell, "terraform": terraform}
)

__all__ = ["FORMATS", "SetupPlan", "make_plan"]
