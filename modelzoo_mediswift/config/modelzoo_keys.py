"""Model Zoo 2.10's keys and names that are known here and refused, each with the reason.

A key may still stand in a file with a value that makes it do nothing (Model Zoo's default, as a
rule): such a file describes the program that we run. Any other value is refused by name, since
to ignore it would be to run another program than the one described.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Refused:
    """Why a key is refused, and the values with which it means nothing."""

    reason: str
    off: tuple[object, ...] = (None,)

    def harmless(self, value: object) -> bool:
        # `0 == False` and `1.0 == True` in Python, so numbers and booleans are told apart.
        return any(
            value == off and isinstance(value, bool) == isinstance(off, bool) for off in self.off
        )


def _unsupported(what: str, *off: object) -> Refused:
    return Refused(f"{what} is Model Zoo's but not supported here", (None, *off))


def _elsewhere(where: str) -> Refused:
    return Refused(f"belongs in {where} since Model Zoo 2.4", ())


_MUP = "maximal update parametrization (muP)"
_GENERATION = "generation inside the training program"
_MOE = "a mixture of experts"
_ROTARY = "rotary position embedding"
_WINDOW = "sliding-window attention"
_PATTERN = "a fixed attention pattern"

MODEL: Mapping[str, Refused] = {
    "model_name": Refused("renamed: write `name`", ()),
    "mixed_precision": _elsewhere("trainer.init.precision.enabled"),
    "fp16_type": _elsewhere("trainer.init.precision.fp16_type"),
    # embeddings
    "num_extra_input_vocab_tokens": _unsupported(
        "an input vocabulary larger than the output's (write num_virtual_tokens instead)", 0
    ),
    "constant_pos_embedding": _unsupported("a constant position embedding"),
    "position_embedding_offset": _unsupported("an offset of the position embeddings", 0),
    "embedding_layer_norm": _unsupported("a LayerNorm after the embeddings", False),
    "num_relative_attention_buckets": _unsupported("relative position embedding", 32),
    "rotary_dim": _unsupported(_ROTARY),
    "rope_theta": _unsupported(_ROTARY, 10000, 10000.0),
    "fold_rope_consts": _unsupported(_ROTARY, False),
    "pos_scaling_factor": _unsupported("scaling of positions", 1.0, 1),
    "pos_scaling_type": _unsupported("scaling of positions", "linear"),
    "pos_scaling_extra_args": _unsupported("scaling of positions"),
    "rel_distance_mode": _unsupported("capped or grouped relative distance", "default"),
    "rel_distance_extra_args": _unsupported("capped or grouped relative distance"),
    "alibi_trainable_slopes": _unsupported("ALiBi position embedding", False),
    "memory_tokens": _unsupported("memory tokens", {}),
    "embeddings_scale": _unsupported(_MUP, 1.0, 1),
    # attention
    "attention_module": _unsupported("multi-query attention", "aiayn_attention"),
    "extra_attention_params": _unsupported("multi-query attention", {}),
    "attention_sliding_window_length": _unsupported(_WINDOW),
    "sliding_window_every_other_decoder_layer": _unsupported(_WINDOW, False),
    "sliding_window_every_other_decoder_layer_pattern": _unsupported(
        _WINDOW, "full_attention_first"
    ),
    "attention_sink_tokens": _unsupported("an attention sink"),
    "use_sink_token": _unsupported("an attention sink", False),
    "attention_vertical_column_spacing": _unsupported(_PATTERN),
    "attention_vertical_column_width": _unsupported(_PATTERN),
    "attention_chunk_size": _unsupported(_PATTERN),
    "fixed_sparse_attention": _unsupported(_PATTERN, {}),
    "attention_qk_norm_layer": _unsupported("normalization of queries and keys"),
    "attention_qk_norm_eps": _unsupported("normalization of queries and keys", 1e-5),
    "attention_inner_dim": _unsupported("an attention width other than hidden_size"),
    "attention_softmax_fp32": _unsupported("a softmax in half precision", True),
    "attention_kernel": _unsupported("a choice of the attention kernel"),
    "attention_logit_softcapping": _unsupported("capping of logits"),
    "scale_qk_dot_by_d": _unsupported(_MUP, False),
    "scale_qk_dot_by_layer_idx": _unsupported("scaling of attention by layer", False),
    "attention_logits_alpha": _unsupported(_MUP, 1.0, 1),
    "cross_attention_layers": _unsupported("cross attention", []),
    "use_experimental_flex_api": _unsupported("the experimental attention interface", False),
    # feed-forward and output
    "norm_type": _unsupported("a normalization other than LayerNorm", "layernorm"),
    "norm_first_sandwich": _unsupported("a second LayerNorm after each block", False),
    "extra_ffn_params": _unsupported("a variant of the feed-forward block", {}),
    "moe": _unsupported(_MOE, {}),
    "moe_params": _unsupported(_MOE, {}),
    "ffn_initializer": _unsupported("an initializer of its own for the feed-forward block"),
    "ffn_output_layer_initializer": _unsupported(
        "an initializer of its own for the feed-forward block"
    ),
    "final_logit_softcapping": _unsupported("capping of logits"),
    "output_logits_scale": _unsupported(_MUP),
    "output_logits_alpha": _unsupported(_MUP),
    "scale_output_logits_by_d": _unsupported(_MUP, True),
    "lr_adjustment_groups": _unsupported(_MUP),
    "mup_base_hidden_size": _unsupported(_MUP),
    "mup_base_filter_size": _unsupported(_MUP),
    # precision and generation
    "dtype": _unsupported("a data type set on the model (see trainer.init.precision)"),
    "boundary_casting": _unsupported("boundary casting", False),
    "start_token": _unsupported(_GENERATION),
    "loop_dim": _unsupported(_GENERATION, 1),
    "stop_sequences": _unsupported(_GENERATION),
    "max_tokens": _unsupported(_GENERATION),
    "temperature": _unsupported(_GENERATION),
    "top_k": _unsupported(_GENERATION),
    "top_p": _unsupported(_GENERATION),
}

MODEL_NAMES: Mapping[str, str] = {
    name: f"{name} is Model Zoo's but not supported here"
    for name in ("gpt2", "gptj", "gpt-neox", "llama", "mistral", "mixtral", "falcon", "bloom",
                 "mpt", "santacoder", "starcoder", "bert", "roberta", "t5", "transformer",
                 "dpo", "gemma2", "esm2")
}  # fmt: skip

POSITION_EMBEDDINGS: Mapping[str, str] = {
    "rotary": "rotary position embeddings are Model Zoo's but not supported here",
    "relative": "relative position embeddings are Model Zoo's but not supported here",
    "fixed": "sinusoidal position embeddings are Model Zoo's but not supported here",
    "alibi": "ALiBi position embeddings are Model Zoo's but not supported here",
    "None": "a model without position embeddings is Model Zoo's but not supported here",
}

BACKEND: Mapping[str, Refused] = {
    "artifact_dir": _unsupported("a directory of its own for artifacts"),
    "main_process_id": _unsupported("another first process than 0", 0),
    "dist_backend": _unsupported("another library than NCCL between GPUs", "nccl"),
    "init_method": _unsupported("another way for processes to meet than torchrun's", "env://"),
    "sync_batchnorm": _unsupported("batch normalization", False),
    "mixed_precision": Refused("set trainer.init.precision.enabled instead", (None,)),
}

INIT: Mapping[str, Refused] = {
    "autorestart": _unsupported("automatic restart"),
}

ADAMW: Mapping[str, Refused] = {
    "amsgrad": _unsupported("AMSGrad", False),
    "adjust_learning_rate": _unsupported(_MUP, {}),
    "params": _unsupported("parameter groups set by hand", []),
}

OPTIMIZERS: Mapping[str, str] = dict.fromkeys(
    ("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "Lamb", "Lion", "Muon",
     "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
    "the paper trains with AdamW",
)  # fmt: skip

SCHEDULE: Mapping[str, Refused] = {
    "param_group_tags": _unsupported("a schedule for some parameters only"),
    "cycle": _unsupported("a schedule that starts again", False),
    "last_epoch": _unsupported("a schedule that starts in the middle", -1),
}

SCHEDULERS: Mapping[str, str] = {
    **dict.fromkeys(
        ("PolynomialLR", "ExponentialLR", "InverseExponentialTimeDecayLR",
         "InverseSquareRootDecayLR", "PiecewiseConstantLR", "MultiStepLR", "StepLR",
         "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "LambdaLR", "MultiplicativeLR",
         "ChainedScheduler", "CyclicLR", "OneCycleLR", "ScalePerParamLR"),
        "the supported ones make the paper's warm-up and cosine decay",
    ),
    **dict.fromkeys(
        ("ConstantWD", "LinearWD", "CosineDecayWD", "SequentialWD", "PolynomialWD",
         "ExponentialWD", "PiecewiseConstantWD", "MultiStepWD", "StepWD", "ChainedWD"),
        "weight decay is constant",
    ),
}  # fmt: skip

CHECKPOINT: Mapping[str, Refused] = {
    "checkpoint_root": _unsupported("a place for checkpoints other than model_dir"),
    "checkpoint_name": Refused(
        "checkpoints are named checkpoint_<step> here; leave this key out",
        (None, "checkpoint_{step}.mdl"),
    ),
    "strict_version": _unsupported("loading across versions without a check", True),
}

LOGGING: Mapping[str, Refused] = {
    "wsc_log_level": Refused("is no part of a program: give --wsc_log_level to run.py", (None, {})),
    "enable_act_frequency": _unsupported("activations only at logging steps", False),
}

CALLBACKS: Mapping[str, str] = {
    "SaveCheckpointState": "checkpoints hold everything",
    "GlobalFlags": "write ScopedTrainFlags",
    "ScopedValidateFlags": "write ScopedTrainFlags",
    "DebugArgsPath": "give --debug_args_path to run.py",
    "Lora": "fine-tuning is dense, as in the paper",
    "SelectiveGrad": (
        "from a file it can only train the outliers of a matrix; write TrainOnly to choose "
        "parameters"
    ),
    "WeightCompression": "checkpoints are not compressed",
    "CountParams": "`mediswift plan` counts them",
    "NaNChecker": "the loss is always checked",
    "DumpActivations": "not built",
    "LogInputSummaries": "not built",
    "SummaryTensorListener": "not built",
    "NormTensorListener": "not built",
    "ComputeNormGNS": "not built",
    "OpProfiler": "not built",
    "SkipSamples": "a resumed run continues where it stopped in the data",
    "EleutherEvalHarness": "evaluation is by our own tasks",
    "BigCodeEvalHarness": "evaluation is by our own tasks",
    "ScopedEleutherEvalHarnessFlags": "evaluation is by our own tasks",
    "ScopedBigCodeEvalHarnessFlags": "evaluation is by our own tasks",
    "HFCacheDir": "nothing is downloaded",
    "EmailNotification": "not built",
    "SlackNotification": "not built",
}

LOGGERS: Mapping[str, str] = {
    "WandbLogger": "write TensorBoardLogger; a JSONL log is always written",
}

SPARSITY: Mapping[str, Refused] = {
    "param_name_patterns": Refused(
        "is Release 2.1.1's key: write `param_filter`, with globs in place of regular expressions",
        (),
    ),
    "add_summaries": Refused(
        "is Release 2.1.1's key: write `- LogSparsity: {}` under trainer.init.callbacks", ()
    ),
    "groups": Refused("write the blocks as a list directly under `sparsity`", ()),
    "ema_beta": Refused("is not in Model Zoo 2.10's library either; leave it out"),
}

ALGORITHMS: Mapping[str, str] = {
    "group": "write the blocks as a list directly under `sparsity`",
}

DATALOADER: Mapping[str, Refused] = {
    "mixture": _unsupported("a weighted mixture of data sets"),
    "data_subset": _unsupported("a part of a data set"),
    "use_vsl": _unsupported("variable sequence length", False),
    "use_worker_cache": _unsupported("a cache on the workers", False),
    "data_transforms": _unsupported("a transformation of batches", []),
    "dataset_map_fn": _unsupported("a transformation of samples"),
    "vocab_size": Refused("has no effect in Model Zoo 2.10 either; leave it out"),
    "repeat": Refused("has no effect in Model Zoo 2.10 either; leave it out"),
    "shuffle_buffer": Refused("the map-style reader shuffles the whole data set; leave it out"),
    "features_list": Refused("the map-style reader knows its features; leave it out"),
}

DATA_PROCESSORS: Mapping[str, str] = {
    "GptHDF5DataProcessor": (
        "GptHDF5DataProcessor reads in a stream and cannot resume exactly; "
        "write GptHDF5MapDataProcessor, which reads the same files"
    ),
    **dict.fromkeys(
        ("DummyDataProcessor", "DummyIterableDataProcessor", "InferenceDataProcessor",
         "HuggingFaceDataProcessorEli5", "HuggingFaceIterableDataProcessorEli5",
         "SyntheticDataProcessor", "GenericDataProcessor"),
        "only HDF5 data is supported here",
    ),
}  # fmt: skip

INITIALIZERS: Mapping[str, str] = {
    name: f"the {name} initializer is Model Zoo's but not supported here"
    for name in ("constant", "ones", "zeros", "eye", "uniform", "xavier_normal",
                 "xavier_uniform", "glorot_normal", "glorot_uniform", "kaiming_normal",
                 "kaiming_uniform", "variance_scaling", "lecun_normal", "lecun_uniform")
}  # fmt: skip
