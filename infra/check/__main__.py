"""Run all checks: `python -m infra.check`. Exits with 1 if a check finds a problem.

Each module has a function `check` that returns its problems.
"""

import sys
from collections.abc import Callable, Mapping

from infra.check import dockerfile, manifests, terraform, terraform_policies, workflows

CHECKS: Mapping[str, Callable[[], list[str]]] = {
    "Dockerfile": dockerfile.check,
    "Kubernetes manifests": manifests.check,
    "GitHub workflows": workflows.check,
    "terraform": terraform.check,
    "policies of the Terraform configuration": terraform_policies.check,
}


def main() -> None:
    """Run the checks. For each check, print one line and its problems."""
    failed = False
    for name, check in CHECKS.items():
        try:
            problems = check()
        except (OSError, ValueError) as error:
            problems = [str(error)]
        print(f"{name}: {f'{len(problems)} problems' if problems else 'ok'}", flush=True)
        for problem in problems:
            print(f"  {problem}", flush=True)
        failed = failed or bool(problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
