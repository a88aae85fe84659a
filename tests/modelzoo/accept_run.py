"""Run as a program: Model Zoo's own schema on YAML files; prints those it refuses, with reasons."""

import json
import sys
from pathlib import Path

import yaml

from modelzoo_mediswift.cerebras.missing import replace_missing_harnesses

replace_missing_harnesses()

from cerebras.modelzoo.registry import registry  # noqa: E402
from cerebras.modelzoo.trainer.validate import validate_trainer_params  # noqa: E402

from modelzoo_mediswift.cerebras.modelzoo import MediSwiftModel, register  # noqa: E402

register()
register()
processors = registry.get_data_processor_names("mediswift")
found = {
    "class": registry.get_model_class("mediswift") is MediSwiftModel,
    "processors": sorted(processors) == sorted(registry.get_data_processor_names("gpt3")),
    "times": registry.get_model_names().count("mediswift"),
}
refused = {}
for path in sys.argv[1:]:
    try:
        validate_trainer_params(yaml.safe_load(Path(path).read_text()))
    except Exception as error:  # noqa: BLE001, whatever Model Zoo raises
        refused[path] = str(error)
print(json.dumps(found | {"refused": refused}))
