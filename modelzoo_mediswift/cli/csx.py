"""`run.py CSX`: its flags, and what ends well without a cluster."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from modelzoo_mediswift.cerebras.cirh import summarize
from modelzoo_mediswift.cerebras.debug import Debug, Value, set_debug
from modelzoo_mediswift.cerebras.environment import require_cerebras, require_cluster
from modelzoo_mediswift.cerebras.reach import (
    check_cluster_answers,
    cluster_failures,
    show_client_messages,
)
from modelzoo_mediswift.config.load import InFront
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.errors import UserError

CLUSTER = "trainer.init.backend.cluster_config"
OVERRIDES = {
    "validate_only": "trainer.init.backend.validate_only",
    "compile_only": "trainer.init.backend.compile_only",
    "compile_dir": "trainer.init.backend.compile_dir",
    "num_csx": f"{CLUSTER}.num_csx",
    "num_workers_per_csx": f"{CLUSTER}.num_workers_per_csx",
    "num_wgt_servers": f"{CLUSTER}.max_wgt_servers",
    "num_act_servers": f"{CLUSTER}.max_act_per_csx",
    "mgmt_address": f"{CLUSTER}.mgmt_address",
    "mgmt_namespace": f"{CLUSTER}.mgmt_namespace",
    "credentials_path": f"{CLUSTER}.credentials_path",
    "cbcore_image": f"{CLUSTER}.cbcore_image",
    "job_labels": f"{CLUSTER}.job_labels",
    "job_priority": f"{CLUSTER}.job_priority",
    "job_time_sec": f"{CLUSTER}.job_time_sec",
    "mount_dirs": f"{CLUSTER}.mount_dirs",
    "python_paths": f"{CLUSTER}.python_paths",
    "disable_version_check": f"{CLUSTER}.disable_version_check",
}
"""Flag -> the key that it sets before the file is checked."""
ADDED = ("mount_dirs", "python_paths")  # lists that extend the file's own, as in Model Zoo
DEBUG = ("debug_args", "debug_args_path", "ini", "wsc_log_level")
REFUSED = {
    "dist_addr": "torchrun says where processes meet: torchrun --master_addr, --master_port",
    "dist_backend": "processes speak NCCL on GPUs and Gloo on CPUs",
    "init_method": "processes meet as torchrun has them meet",
}
"""Model Zoo's flags that mean nothing here -> what does that job."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Model Zoo's flags for a Wafer-Scale Cluster; each is absent unless given."""
    group = parser.add_argument_group("CSX only")
    only = group.add_mutually_exclusive_group()
    only.add_argument(
        "--validate_only",
        action="store_true",
        default=None,
        help="check here, without a cluster, that the program lowers for the compiler",
    )
    only.add_argument(
        "--compile_only", action="store_true", default=None, help="compile on the cluster and stop"
    )
    group.add_argument("-c", "--compile_dir", help="where the cluster keeps compiled programs")
    group.add_argument("--num_csx", type=int, help="number of CS systems")
    group.add_argument("--num_workers_per_csx", type=int, help="data workers per system")
    group.add_argument("--num_wgt_servers", type=int, help="weight servers at most")
    group.add_argument("--num_act_servers", type=int, help="activation servers per system at most")
    group.add_argument("--mgmt_address", help="management node as host:port")
    group.add_argument("--mgmt_namespace", help="namespace of the jobs")
    group.add_argument("--credentials_path", help="TLS certificate of the management node")
    group.add_argument("--cbcore_image", help="container image of the Cerebras software")
    group.add_argument("--job_labels", nargs="+", metavar="KEY=VALUE", help="labels of the jobs")
    group.add_argument("--job_priority", choices=("p1", "p2", "p3"), help="p1 is the highest")
    group.add_argument("--job_time_sec", type=int, help="time limit of a job")
    group.add_argument("--mount_dirs", nargs="+", help="folders that the workers see")
    group.add_argument("--python_paths", nargs="+", help="folders that the workers import from")
    group.add_argument(
        "--disable_version_check",
        action="store_true",
        default=None,
        help="do not compare this release with the cluster's",
    )
    _add_debug_flags(parser)
    for flag, reason in REFUSED.items():
        parser.add_argument(f"--{flag}", type=_refusal(reason), help=argparse.SUPPRESS)


def _add_debug_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("CSX only, as Cerebras support asks for them")
    for flag, form, what in (
        ("debug_args", "KEY=VALUE", "fields of the cluster's message DebugArgs, dotted"),
        ("ini", "KEY=VALUE", "settings of compiler and runtime"),
        ("wsc_log_level", "[SERVER=]LEVEL", "log level of the cluster's servers, or of one"),
    ):
        pair = _level if flag == "wsc_log_level" else _pair
        group.add_argument(
            f"--{flag}", nargs="+", action="extend", type=pair, metavar=form, help=what
        )
    group.add_argument("--debug_args_path", type=Path, metavar="FILE", help="DebugArgs as text")


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {word}")
    return key, value


def _level(word: str) -> tuple[str, str]:
    """The server, "" for all of them, and its level."""
    server, _, level = word.rpartition("=")
    return server, level


def _refusal(reason: str) -> Callable[[str], None]:
    def refuse(value: str) -> None:
        raise argparse.ArgumentTypeError(f"Model Zoo's flag is not used here: {reason}")

    return refuse


def overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """What the flags set; raises UserError where they were given for another device."""
    flags = (*OVERRIDES, *DEBUG)
    given = {flag: value for flag in flags if (value := getattr(arguments, flag)) is not None}
    if given and arguments.device != "CSX":
        raise UserError(f"--{next(iter(given))} is for CSX, not for {arguments.device}")
    return {
        OVERRIDES[flag]: InFront(value) if flag in ADDED else value
        for flag, value in given.items()
        if flag in OVERRIDES
    }


def debug(arguments: argparse.Namespace) -> Debug:
    """What the flags for support ask for."""
    return Debug(
        ini={key: _value(text) for key, text in arguments.ini or ()},
        arguments={key: _value(text) for key, text in arguments.debug_args or ()},
        arguments_file=arguments.debug_args_path,
        log_levels=dict(arguments.wsc_log_level or ()),
    )


def _value(text: str) -> Value:
    """The simplest type that the text can be read as."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text


def prepare(config: TrainerConfig, debug: Debug) -> None:
    """Raises UserError where the Cerebras software or, unless it is not needed, a cluster is
    missing or does not answer."""
    require_cerebras()
    set_debug(debug)
    backend = config.init.backend
    if backend.validate_only:
        return
    cluster = backend.cluster_config
    require_cluster(cluster.mgmt_address)
    show_client_messages(config.init.logging.log_level)
    with cluster_failures():
        check_cluster_answers(
            cluster.mgmt_address, cluster.mgmt_namespace, cluster.credentials_path
        )


def compile_alone(config: TrainerConfig, mode: str) -> int:
    """--validate_only and --compile_only."""
    from modelzoo_mediswift.build_csx import compile_for_csx

    for program in compile_for_csx(config, mode):
        print(
            f"{program.name}: batch size {program.batch_size}, {program.length} tokens: compiles",
            file=sys.stderr,
        )
        if program.cirh is not None:
            print(f"  {summarize(program.cirh)}\n  {program.cirh}", file=sys.stderr)
    validated = config.init.backend.validate_only
    print("Compile validated locally" if validated else "Compile was successful!")
    return 0
