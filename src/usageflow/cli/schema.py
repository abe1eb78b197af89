"""`usageflow schema`: the JSON schema of policy files, for editors."""

from __future__ import annotations

EXAMPLES = (
    "usageflow schema > policy-file.schema.json",
    "# the first line of a policy file:  # yaml-language-server: $schema=policy-file.schema.json",
)


def schema() -> None:
    """Print the JSON schema of policy files, with which editors complete and check them."""
    from usageflow.cli.output import print_json
    from usageflow.policyfile.json_schema import policy_file_schema

    print_json(policy_file_schema())
