"""This project as a plugin of Cerebras Model Zoo 2.10: model `mediswift`, and its callbacks.

Import it where `cerebras.modelzoo` is; `register` makes the model known by name. Callbacks are
known to Model Zoo's YAML once their classes exist.
"""

import math
from typing import Any, Literal

import cerebras.pytorch as cstorch
import torch
from cerebras.modelzoo.layers.create_initializer import create_initializer
from cerebras.modelzoo.models.nlp.gpt3.model import GPT3Model, GPT3ModelConfig
from cerebras.modelzoo.registry import registry
from cerebras.modelzoo.trainer.callbacks import Callback
from torch import Tensor, nn

NAME = "mediswift"
MASK_SUFFIX = "_mask"
PROMPT = "model.prompt_embedding.weight"
AFRESH = ("optimizer", "schedulers", "sparsity", "grad_scaler", "dataloader", "global_step")


class MediSwiftModelConfig(GPT3ModelConfig):
    """Model Zoo's GPT-3 with a soft prompt of `num_virtual_tokens`."""

    name: Literal["mediswift"]
    num_virtual_tokens: int = 0


class MediSwiftModel(GPT3Model):
    """Ids from vocab_size on select rows of `prompt_embedding`, and are never predicted.

    Only the look-up of token embeddings differs from Model Zoo's GPT-3.
    """

    # Model Zoo reads annotations of arguments as types: they must not be strings in this module.
    def __init__(self, config: MediSwiftModelConfig) -> None:
        if isinstance(config, dict):
            config = MediSwiftModelConfig(**config)
        super().__init__(config)
        if config.num_virtual_tokens:
            embedding = self.model.embedding_layer
            # Inside `model`: Model Zoo takes other names for those of a release before 2.0.
            prompt = nn.Embedding(config.num_virtual_tokens, config.hidden_size)
            self.model.prompt_embedding = prompt
            weight: Any = prompt.weight
            weight.requires_dense = True  # never masked, whatever a filter says
            create_initializer(embedding.embeddings_initializer)(weight.data)
            embedding.compute_token_embeddings = self._token_embeddings

    def _token_embeddings(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, d)."""
        virtual = input_ids >= self.vocab_size
        prompt = self.model.prompt_embedding((input_ids - self.vocab_size).clamp(min=0))
        words = self.model.embedding_layer.word_embeddings(torch.where(virtual, 0, input_ids))
        return torch.where(virtual.unsqueeze(-1), prompt, words)


class _Stateless(Callback):
    """Model Zoo's automatic restart asks every callback for its state."""

    def on_save_trainer_state(self, trainer: Any, state_dict: dict[str, Any]) -> None:
        pass

    def on_load_trainer_state(self, trainer: Any, state_dict: dict[str, Any]) -> None:
        pass


class DensifyOnLoad(_Stateless):
    """Load a sparse checkpoint into a dense model, strictly: without masks, from step 0.

    The soft prompt, which pre-training does not have, keeps its initial values. The checkpoint
    of a dense run, such as this fine-tuning's own, is left as it is.
    """

    def __init__(self, init: Literal["zeros"] = "zeros") -> None:
        self.init = init

    def preprocess_checkpoint(self, trainer: Any, state_dict: dict[str, Any]) -> None:
        model = state_dict.get("model", {})
        masks = [n for n in model if n.endswith(MASK_SUFFIX) and n[: -len(MASK_SUFFIX)] in model]
        if not masks:
            return
        for name in masks:
            del model[name]
        own = trainer.model.state_dict()
        if PROMPT in own and PROMPT not in model:
            model[PROMPT] = own[PROMPT]
        for key in AFRESH:
            state_dict.pop(key, None)
        trainer.logger.info(f"DensifyOnLoad: dropped {len(masks)} masks; training starts at step 0")


class EarlyStopping(_Stateless):
    """End training once the first validation set's mean loss gets no better.

    Model Zoo's mean is over batches. All checkpoints stay, and a run that is taken up again
    compares anew; `run.py` keeps the best checkpoint and the history.
    """

    def __init__(
        self, monitor: Literal["loss"] = "loss", patience: int = 1, min_delta: float = 0.0
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.best, self.best_step = math.inf, 0
        self.waited = 0  # evaluations since the best
        self._losses: list[float] = []
        self._considered = -1  # the step whose first validation set was looked at

    def on_fit_start(
        self, trainer: Any, train_dataloader: Any, val_dataloader: Any, loop: Any
    ) -> None:
        trainer.early_exit.register(lambda: self.waited >= self.patience)

    def on_validate_start(self, trainer: Any, model: Any, val_dataloader: Any, loop: Any) -> None:
        self._losses = []

    def on_validate_batch_end(
        self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._add(outputs["loss"])

    @cstorch.step_closure
    def _add(self, loss: Tensor) -> None:
        self._losses.append(loss.item())

    def on_validate_end(self, trainer: Any, model: Any, loop: Any) -> None:
        step = trainer.global_step
        if not self._losses or step == self._considered:
            return
        self._considered = step
        loss = sum(self._losses) / len(self._losses)
        if self.best - loss > self.min_delta:
            self.best, self.best_step, self.waited = loss, step, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.logger.info(
                f"EarlyStopping: loss no better for {self.patience} evaluations; best was "
                f"{self.best:.4f} at step {self.best_step}"
            )


class GroupByLength(_Stateless):
    """Nothing: batches have one shape here, and sequences keep the order as drawn."""

    def __init__(self, window: int = 32) -> None:
        self.window = window


def register() -> None:
    """Make the model known to Model Zoo, with the data processors of its GPT-3; once is enough."""
    if NAME in registry.get_model_names():
        return
    registry.register_model(
        name=NAME,
        path=f"{__name__}.{MediSwiftModel.__name__}",
        data_processor_paths=registry.get_model("gpt3").data_processor_paths,
    )


def run_command_line() -> None:
    """Model Zoo's `cszoo`, on the arguments of this process."""
    from cerebras.modelzoo.cli.main import main

    main()
