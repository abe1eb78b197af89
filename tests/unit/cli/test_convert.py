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
      - {name: tokens, limit: 5, window: 1h, algorithm: TOKEN_BUCKET}
      - {name: sliding, limit: 5, window: 1h, algorithm: SLIDING_WINDOW}
    strategy: s
plans:
  - {name: pro, overrides: [{policy: p, limit_name: plain, limit: 1}]}
customers:
  - name: acme
    identities: [u]
    stripe_customer: cus_1
    plan: pro
    overrides:
      - {policy: p, limit_name: plain, limit: 9, identity: u, expires: 2026-01-31T00:00:00Z}
      - {policy: p, limit_name: tokens, limit: 9, burst: 0}
strategies:
  - name: s
    sources: [{in: header, name: X-User-Id}]
    guard: {limit: 600, window: 1m, new_identities: 20}
"""


def test_the_service_reads_what_the_file_says() -> None:
    loaded = load(FILE, filename="f.yaml", check=check)
    wanted = unpack.wanted(apply_request(loaded, prune=False, dry_run=False))
    assert (wanted.policies, wanted.customers) == (loaded.policy_set, loaded.customers)
