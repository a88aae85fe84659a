"""The canonical YAML of a configuration: complete, and read back to an equal one."""

import yaml

from modelzoo_mediswift.config.callbacks import ModelZooDefault, Removed
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.section import Named, Section
from modelzoo_mediswift.config.trainer import NEWEST, TrainerConfig


def to_dict(config: TrainerConfig) -> dict[str, object]:
    """Every key with its value, defaults too, as dicts, lists and scalars."""
    return {"trainer": _plain(config)}


def to_yaml(config: TrainerConfig) -> str:
    """The same as YAML text."""
    text: str = yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=False)
    return text


def _plain(value: object) -> object:
    if isinstance(value, Removed):
        return {value.key: None}
    if isinstance(value, ModelZooDefault):
        return {value.key: dict(value.default)}
    if isinstance(value, Named):
        return {value.key: _fields(value)}
    if isinstance(value, Section):
        return _fields(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _fields(section: Section) -> dict[str, object]:
    fields = {}
    for key, name in section.keys().items():
        value = getattr(section, name)
        unset = value in (None, (), NEWEST) and value == type(section).model_fields[name].default
        # Absent and null mean the same, except for ckpt_path; and stock Model Zoo, which is to
        # read this too, wants some keys absent rather than null.
        if not unset:
            fields[key] = _plain(value)
    if isinstance(section, ModelConfig) and section.name == "gpt3":
        del fields["num_virtual_tokens"]
    return fields
