import sys

from modelzoo_mediswift.cerebras import missing
from modelzoo_mediswift.cli import cszoo


def test_without_model_zoo_the_message_says_where_it_is(monkeypatch, capsys):
    monkeypatch.setattr(cszoo, "require_cerebras", lambda: None)
    monkeypatch.setattr(cszoo, "is_modelzoo_installed", lambda: False)
    assert cszoo.main() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "github.com/Cerebras/modelzoo" in error


def test_only_harnesses_that_are_missing_are_replaced(monkeypatch):
    present = {"lm_eval"}
    monkeypatch.setattr(
        missing.importlib.util, "find_spec", lambda name: name if name in present else None
    )
    modules = dict(sys.modules)
    monkeypatch.setattr(missing.sys, "modules", modules)
    assert missing.replace_missing_harnesses() == ["bigcode_eval"]
    module = modules["cerebras.modelzoo.trainer.extensions.bigcode"]
    assert isinstance(module.BigCodeEvalHarness, type)
    assert "cerebras.modelzoo.trainer.extensions.eleuther" not in modules
    assert missing.replace_missing_harnesses() == ["bigcode_eval"]  # the same module stays
    assert modules["cerebras.modelzoo.trainer.extensions.bigcode"] is module
