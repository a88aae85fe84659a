import logging

import pytest

from modelzoo_mediswift.cerebras.reach import cluster_failures, show_client_messages
from modelzoo_mediswift.errors import UserError


def test_what_the_client_raises_is_one_line_and_our_own_faults_stay():
    client = {"__name__": "cerebras.appliance.cluster.client"}
    exec("def call(): raise RuntimeError('refused\\n  and more')", client)
    with (
        pytest.raises(UserError, match=r"^CSX: the cluster: refused and more$"),
        cluster_failures(),
    ):
        client["call"]()
    with pytest.raises(ZeroDivisionError), cluster_failures():
        1 / 0  # noqa: B018


def test_the_clients_messages_are_lines_without_tracebacks(capsys):
    logger = logging.getLogger("cerebras")
    before = logger.handlers, logger.level, logger.propagate
    show_client_messages("INFO")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("cerebras.cluster.client").info("queued\n for long", exc_info=True)
    logging.getLogger("cerebras.cluster.client").debug("a heartbeat")
    logger.handlers, logger.level, logger.propagate = before
    assert capsys.readouterr().err == "cluster: queued for long\n"
