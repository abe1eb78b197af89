from __future__ import annotations

from admin.handler import unpack
from usageflow.cli.convert import apply_request
from usageflow.expressions import check
from usageflow.policyfile import load

FILE = """
version: 1
application: demo
policies:
  - name: p
    match: {path: /a}
    enforce_percent: 0
    condition: request.method == 'POST'
    cost: 2 * size(request.path)
    limits:
      - {name: daily, limit: 5, align: day, time_zone: Europe/Berlin}
      - {name: billed, limit: 5, align: billing, anchor: 2026-01-31T00:00:00Z}
      - {name: plain, limit: 5, window: 1h, charge_denied: true}
      - {name: sliding, limit: 5, window: 1h, algorithm: SLIDING_WINDOW}
    strategy: s
strategies:
  - {name: s, sources: [{in: header, name: X-User-Id}]}
"""


def test_the_service_reads_what_the_file_says() -> None:
    loaded = load(FILE, filename="f.yaml", check=check)
    assert unpack.wanted(apply_request(loaded, prune=False, dry_run=False)).policies == loaded.policy_set
