"""The cases by name, in the order in which they run."""

from __future__ import annotations

from tools.prove.cases.accuracy import accuracy
from tools.prove.cases.alerts import alerts
from tools.prove.cases.audit import audit
from tools.prove.cases.billing import billing
from tools.prove.cases.change import change
from tools.prove.cases.cluster import cluster
from tools.prove.cases.dashboard import dashboard
from tools.prove.cases.database_down import database_down
from tools.prove.cases.ingest import ingest
from tools.prove.cases.inventory import inventory
from tools.prove.cases.leases import leases
from tools.prove.cases.lives import life, restart
from tools.prove.cases.midmonth import midmonth
from tools.prove.cases.money import million, once, unbillable
from tools.prove.cases.newcomers import demo, hundred, tests
from tools.prove.cases.percentiles import percentiles
from tools.prove.cases.propagation import propagation
from tools.prove.cases.replay import replay
from tools.prove.cases.resources import bulk, editors, fuzz
from tools.prove.cases.revoked import revoked
from tools.prove.cases.roles import roles
from tools.prove.cases.secrets import secrets
from tools.prove.cases.signups import signups
from tools.prove.cases.takers import takers
from tools.prove.outages import redis_errors, redis_late, stall, stop_in_stall
from tools.prove.refusals import refusals
from tools.prove.showing import Case

CASES: dict[str, Case] = {
    case.__name__.replace("_", "-"): case
    for case in (
        hundred,
        demo,
        restart,
        life,
        takers,
        leases,
        cluster,
        accuracy,
        midmonth,
        change,
        replay,
        stall,
        redis_errors,
        stop_in_stall,
        redis_late,
        propagation,
        revoked,
        signups,
        database_down,
        ingest,
        billing,
        once,
        million,
        unbillable,
        refusals,
        roles,
        audit,
        secrets,
        alerts,
        editors,
        bulk,
        fuzz,
        percentiles,
        dashboard,
        inventory,
        tests,
    )
}
