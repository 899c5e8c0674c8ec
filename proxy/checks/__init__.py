"""Named checks of a running deployment, each written once: run by `up`, by `litellm-local smoke` and by pytest."""

from proxy.checks.report import Result
from proxy.checks.run import run_checks
from proxy.checks.smoke import CHECKS
from proxy.checks.target import Target

__all__ = ["CHECKS", "Result", "Target", "run_checks"]
